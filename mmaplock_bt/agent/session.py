"""One bpftrace of the agent's, from its start to its end."""

import os
import select
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace

from mmaplock_bt.agent import handover
from mmaplock_bt.agent.captures import Longest
from mmaplock_bt.agent.charging import Charging
from mmaplock_bt.agent.kernel_maps import BOOKS, EVENTS, Counts, KernelMaps, Open
from mmaplock_bt.errors import BpftraceError, Interrupted, RefusedError, TargetError
from mmaplock_bt.machine.inventory import Machine
from mmaplock_bt.script.render import Script, render
from mmaplock_bt.spec import declaration
from mmaplock_bt.spec.profile import Profile
from mmaplock_bt.stream import bpftrace_json
from mmaplock_bt.stream.records import PRINTED, Decoder, Events, Record, hexadecimal
from mmaplock_bt.tracing import ending
from mmaplock_bt.tracing.bpf_maps import possible_cpus
from mmaplock_bt.tracing.bpftrace import Tracer

BEATS = "beats"
SILENT_NS = 10 * 10**9  # a second is what lies between two
NO_CONTENTION = "what tells contended locks is not there (lock:contention_begin, a readable rwsem)"


def profile(params: dict[str, int]) -> Profile:
    """Returns what the agent runs; `params` are values for parameters of its template."""
    template = declaration.shipped("_agent")
    declared = template.declaration.params
    given = {name: one.parse(one.default) for name, one in declared.items()}
    return Profile("agent", template, template.declaration.question, params=given | params)


class Session:
    """A context manager: entering it opens the window, leaving it ends bpftrace.

    `beat_ns` is when the last beat was parsed (monotonic). Entering raises UsageError, TargetError,
    BpftraceError, and Interrupted where a signal came before the probes were live. With
    `meanwhile`, which is called while bpftrace starts, it counts nothing until it succeeds another.
    """

    def __init__(
        self,
        chosen: Profile,
        machine: Machine,
        charging: Charging,
        meanwhile: Callable[[], object] | None = None,
    ) -> None:
        self._chosen = chosen
        self._meanwhile = meanwhile
        self._machine = machine
        self._charging = charging
        self.arrived: Counter[str] = Counter()
        self.attached: int | None = None
        self.map_full = self.stack_errors = self.unparsed = 0
        self._said_lost = self._raced = 0
        self._missing = 0
        self._printed: Counts | None = None  # as it was a while ago
        self._has_all = False  # all that was printed then is here
        self._residue: int | None = None
        self._longest: Longest = {}
        self._is_over = self._is_past = False
        self._inherited = 0  # waits whose begin another script had seen

    def __enter__(self) -> "Session":
        with ExitStack() as stack:
            self._start(stack)
            self.maps = KernelMaps(self._tracer.pid)
            stack.callback(self.maps.close)
            if self._meanwhile is None:
                self.maps.set_turn(handover.NOW, range(possible_cpus()))
            self._pidfd = os.pidfd_open(self._tracer.pid)
            stack.callback(os.close, self._pidfd)
            self._decoder = Decoder(self.script.outputs)
            self.opened_ns = self.beat_ns = time.monotonic_ns()
            self._hear(self._first)
            self._ending = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._ending.close()

    @property
    def pid(self) -> int:
        """bpftrace's process id."""
        return self._tracer.pid

    @property
    def is_alive(self) -> bool:
        """Whether bpftrace runs; asked of the kernel at this moment, from any thread."""
        return not self._is_over and not select.select([self._pidfd], [], [], 0)[0]

    @property
    def silent_ns(self) -> int:
        """For how long no beat has come."""
        return time.monotonic_ns() - self.beat_ns

    @property
    def is_complete(self) -> bool:
        """Whether all probes of the script are attached."""
        return self.attached == self.script.probes

    @property
    def lost(self) -> int:
        """How many waits, holds and beats were recorded and did not come."""
        return max(self._said_lost + self._tracer.thinning.lines, self._missing) + self._raced

    @property
    def full(self) -> int:
        """How often a map was full."""
        return self.map_full + self._tracer.thinning.map_full

    @property
    def events(self) -> int:
        """How many lines of the script have come."""
        return sum(self.arrived.values()) + self._tracer.thinning.lines

    def read(self, timeout_s: float) -> list[Record]:
        """Returns what came, after at most this time."""
        is_at_rest = self._printed is not None and self._tracer.is_at_rest()
        lines = self._tracer.read(timeout_s)
        while is_at_rest and (more := self._tracer.read(0)):
            lines += more
        self._has_all = is_at_rest
        return list(self._decoder.decode(lines))

    def hear(self, records: list[Record]) -> None:
        """Takes what was read."""
        for record in records:
            match record:
                case Events():
                    self._take(record)
                case bpftrace_json.Attached(probes=probes):
                    self.attached = probes
                case bpftrace_json.Lost(events=lost):
                    self._said_lost += lost
                case bpftrace_json.HelperError(helper=helper, retcode=retcode):
                    kind = bpftrace_json.kind_of_error(helper, retcode)
                    self.map_full += kind == "full"
                    self.stack_errors += kind == "stack"
                    self._raced += kind == "raced"
                case bpftrace_json.Unparsed():
                    self.unparsed += 1
        if self._has_all and self._printed is not None:
            self._miss(self._printed)
            self._printed = None

    def keeps_alive(self) -> bool:
        """Whether bpftrace runs; lets one go on that was stopped. For the thread that reads."""
        return self._tracer.alive

    def sweep(self) -> int:
        """Deletes what nobody deletes in the kernel's maps; returns how many entries."""
        return self.maps.sweep(sees_threads=not self._machine.facts.get("pid_namespace"))

    def counted(self) -> tuple[Counts, int | None]:
        """Returns what the script has counted, and the residue of its books.

        The residue is that of the latest reading during which nothing was counted; None before.
        """
        before, waiting, counts = self.maps.counted(BOOKS), self.maps.waiting(), self.maps.counted()
        starts, acquires, failed = books = [counts[name,] for name in BOOKS]
        if books == [before[name,] for name in BOOKS]:
            self._residue = abs(starts + self._inherited - acquires - failed - waiting)
        return counts, self._residue

    def tick(self, counts: Counts) -> Open:
        """Charges what can be; remembers how much was printed, for when all of it must be here."""
        now = self.maps.open()
        since = {hexadecimal(mm): began_ns for mm, began_ns in now.since_by_mm.items()}
        self._charging.settle(now.now_ns, since)
        if self._printed is None:
            self._printed = counts
        return now

    def longest(self, now: Open) -> Longest:
        """Returns the longest that ended since it was asked last, and those that last."""
        found, self._longest = self._longest, {}
        return found | {("wait", None): now.wait_ns, ("hold", None): now.hold_ns}

    def succeed(self, old: "Session") -> Counts:
        """Counts from here on, and the old one no more; returns all that that has counted.

        Raises BpftraceError, OSError.
        """
        self._inherited = handover.inherit(old.maps, self.maps)
        try:
            handover.take_over(old.maps, self.maps)
            counts = old.maps.counted()
        except (BpftraceError, OSError):
            old.maps.set_turn(handover.NOW, range(possible_cpus()))
            raise
        old._is_past = True
        return counts

    def stop(self) -> list[Record]:
        """Ends bpftrace, which may take a while; returns what it still had."""
        found: list[str] = []
        with suppress(BpftraceError):
            found += self._tracer.close_window(is_past=self._is_past)
        return list(self._decoder.decode(found))

    def end(self, rest: list[Record]) -> Counts:
        """Takes the rest of a bpftrace that is gone, and returns what it had counted."""
        self.hear(rest)
        counts = self._printed or Counter()
        with suppress(BpftraceError, OSError):
            counts = self.maps.counted()
        self._miss(counts)
        return counts

    def why(self) -> str:
        """Returns how bpftrace ended, in its own words."""
        return " / ".join(self._tracer.diagnostics[-3:])

    def _start(self, stack: ExitStack) -> None:
        """Tries raw tracepoints and, where they are refused after all, does without."""
        try:
            self._try(stack)
        except RefusedError:
            if not self.script.is_raw:
                raise
            facts = {**self._machine.facts, "raw_tracepoint": False}
            self._machine = replace(self._machine, facts=facts)
            self._try(stack)

    def _try(self, stack: ExitStack) -> None:
        self.script: Script = render(self._chosen, self._machine)
        if self.script.locks != "contended":
            raise TargetError(NO_CONTENTION, "boot Linux 5.19 or newer, with BTF")
        with ExitStack() as own:
            self._tracer = own.enter_context(Tracer(self.script, self._machine))
            self._first = self._tracer.open_window(self._interrupted)
            if ending.noted():
                raise Interrupted("interrupted before the probes were live")
            stack.push(own.pop_all())

    def _interrupted(self) -> bool:
        if self._meanwhile is not None:
            self._meanwhile()
        return ending.noted() > 0

    def _hear(self, lines: list[str]) -> None:
        self.hear(list(self._decoder.decode(lines)))

    def _take(self, events: Events) -> None:
        self.arrived[events.output] += len(events.rows)
        if events.output == BEATS:
            self.beat_ns = time.monotonic_ns()
            return
        self._charging.take(events)
        kind = events.output.removesuffix("s")
        for mode, ns in zip(events.column("mode"), events.column(f"{kind}_ns"), strict=True):
            key = kind, mode
            self._longest[key] = max(ns, self._longest.get(key, 0))

    def _miss(self, printed: Counts) -> None:
        """Of what had been printed before bpftrace came to rest nothing is on its way."""
        missing = (printed[PRINTED + name,] - self.arrived[name] for name in EVENTS)
        self._missing = max(self._missing, sum(max(0, count) for count in missing))
