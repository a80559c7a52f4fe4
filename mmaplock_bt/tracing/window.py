"""One window of tracing: bpftrace and the traced command are started, watched and ended."""

import datetime
import os
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from mmaplock_bt import __version__
from mmaplock_bt.errors import Interrupted, RefusedError, UsageError
from mmaplock_bt.escaping import plain
from mmaplock_bt.machine import cpu_pressure, pid_namespace
from mmaplock_bt.machine.inventory import Machine
from mmaplock_bt.result.model import EndedBy, ProfileInfo, TargetInfo, Tool
from mmaplock_bt.script.render import Script, render
from mmaplock_bt.spec.profile import Profile, merge
from mmaplock_bt.stream.recording import Head
from mmaplock_bt.stream.records import OWN, Decoder, Opened, Record, Trailer
from mmaplock_bt.tracing import descendants, look, terminal
from mmaplock_bt.tracing.backlog import Backlog
from mmaplock_bt.tracing.bpftrace import ASK_S, Tracer
from mmaplock_bt.tracing.ending import Options, Stop, on_signals
from mmaplock_bt.tracing.held_command import HeldCommand
from mmaplock_bt.tracing.listeners import Listeners
from mmaplock_bt.tracing.onlooker import Onlooker, Standing
from mmaplock_bt.tracing.raw_file import RawFile
from mmaplock_bt.units import how_ended

_ALL_FOLLOWED = (
    "note: every lock is followed: what tells contended ones is not there (lock:contention_begin, "
    "Linux 5.19, and a readable rwsem)"
)

FLOOD = (
    "note: events come faster than they are read: some are left out, and counted as lost (a higher "
    "threshold or a filter makes fewer)"
)


class Window:
    """A context manager: entering it opens the window, leaving it leaves nothing behind.

    `head` says how to read `records()`; meanwhile `onlooker` may look on. Entering raises
    UsageError, TargetError, BpftraceError, and Interrupted where a signal came before the probes
    were live.
    """

    def __init__(self, chosen: Profile, machine: Machine, options: Options) -> None:
        self.onlooker: Onlooker | None = None
        self._chosen = chosen
        self._machine = machine
        self._options = options
        self._stop = Stop()
        self._raw: RawFile | None = None
        self._backlog = Backlog()
        self._has_told_of_flood = False
        self._started_ns = time.monotonic_ns()

    def __enter__(self) -> "Window":
        with ExitStack() as stack:
            self._open(stack)
            self._ending = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()

    @property
    def interrupted(self) -> bool:
        """Whether a signal asked for its end, be it too late to have been the reason."""
        return self._stop.interrupts > 0

    @property
    def unwritten(self) -> str:
        """Why the raw stream is not whole, or ''."""
        return self._raw.unwritten if self._raw else ""

    def salvaged(self) -> str:
        """Returns what of the raw stream is remembered, once a fault ended the analysis.

        bpftrace ends first: what it counted comes in its last lines.
        """
        with suppress(Exception):  # it was a fault that led here: what came is told however
            for _ in self._last_lines:
                pass
        end = Trailer("limit", time.monotonic_ns() - self._started_ns)
        return "\n".join([self.head.line(), *self._backlog.lines(), end.line(), ""])

    def records(self) -> Iterator[Record]:
        """Yields what is recorded until the window ends, then its Trailer; runs the command."""
        opened_ns, waited_ns = time.monotonic_ns(), cpu_pressure.waited_ns()
        self._started_ns = opened_ns
        self._keep(self.head.line())
        # Only now: the map exists once bpftrace runs, and the fork probe must be live before /proc
        # is read.
        descendants.add_descendants(_roots(self._chosen), self._tracer)
        for record in self._told(self._new(self._first)):
            if isinstance(record, Opened):
                self._listeners.overhead.opened_ns = record.time_ns
            yield record
        yield from self._settled()
        self._begin(opened_ns if self._chosen.max_overhead_ppm is None else time.monotonic_ns())
        reason = yield from self._watched(opened_ns)
        duration_ns, cpu_wait_ns = time.monotonic_ns() - opened_ns, cpu_pressure.since(waited_ns)
        self._progress("")
        yield from self._closed()
        command = self._stop.command
        status = None if command is None else command.status
        trailer = Trailer(reason, duration_ns, status, cpu_wait_ns, self._failure(reason))
        self._keep(trailer.line())
        yield trailer

    def _open(self, stack: ExitStack) -> None:
        chosen, options = self._chosen, self._options
        stack.enter_context(on_signals())
        self._stop.watched = [_pidfd("-p", pid, stack) for pid in chosen.filter.owner.pids]
        for pid in chosen.filter.actor.pids:
            _pidfd("--actor-pid", pid, stack)
        if options.command:
            self._stop.command = self._held(list(options.command))
            stack.callback(self._stop.command.end)
        self._start(stack)
        if options.save_raw is not None:  # not before: a refused run leaves the old one as it is
            thinning = self._tracer.thinning
            raw = RawFile(options.save_raw, thinning, terminal.say, force=options.force)
            self._raw = stack.enter_context(raw)
        start = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        self.head = _head(chosen, self._machine, self._script, start, options)
        self._decoder = Decoder(self._script.outputs)
        listeners = Listeners(chosen, self._script, self._machine.facts)
        self._listeners = stack.enter_context(listeners)
        self._stop.overhead = listeners.overhead
        self._last_lines = self._closing()

    def _held(self, argv: list[str]) -> HeldCommand:
        head = self._options.head_start
        return (head.command(argv) if head else None) or HeldCommand(argv)

    def _start(self, stack: ExitStack) -> None:
        """Tries raw tracepoints and, where they are refused after all, does without.

        0.27 takes them only while some BTF is loaded. We hold one, where the kernel lets us.
        """
        try:
            self._try(stack)
        except RefusedError:
            if not self._script.is_raw:
                raise
            terminal.say("note: refused with raw tracepoints; trying once more without")
            facts = {**self._machine.facts, "raw_tracepoint": False}
            self._machine = replace(self._machine, facts=facts)
            self._try(stack)

    def _try(self, stack: ExitStack) -> None:
        command = self._stop.command
        known = _as_machine_counts(self._chosen, self._machine)
        self._script = render(known, self._machine, tree=_is_tree(self._options))
        if self._chosen.locks == "contended" and self._script.locks == "all":
            terminal.say(_ALL_FOLLOWED)
        root, head = 0 if command is None else command.pid, self._options.head_start
        tracer = Tracer(self._script, self._machine, root, head)
        self._progress("compiling and attaching")
        with ExitStack() as own:
            self._tracer = own.enter_context(tracer)
            self._first = tracer.open_window(lambda: self._stop.interrupts > 0)
            if self._stop.interrupts:
                raise Interrupted("interrupted before the probes were live: there is no result")
            # In another PID namespace the pids are known only once bpftrace runs.
            is_bpf = self._script.plan is None
            if head is not None and is_bpf and not self._machine.facts.get("pid_namespace"):
                head.remember(tracer.order)
            stack.push(own.pop_all())

    def _settled(self) -> Iterator[Record]:
        """With a limit on what tracing may cost: looks, and chooses. Raises TargetError."""
        overhead = self._listeners.overhead
        for _ in overhead.settle(self._tracer):
            yield from self._kept(overhead.news())
            yield from self._told(self._new(self._tracer.read(ASK_S)))
            if self._stop.interrupts or not self._tracer.alive:
                break
        yield from self._kept(overhead.news())

    def _begin(self, opened_ns: int) -> None:
        """Everything is live: whoever waits for that may go on."""
        self._listeners.price.begin(self._tracer)
        _tell_ready(self._options.ready_fd)
        if self._chosen.duration_ns is not None:
            self._stop.deadline_ns = opened_ns + self._chosen.duration_ns
        if self._stop.command is not None:
            self._stop.command.release()

    def _watched(self, opened_ns: int) -> Generator[Record, None, EndedBy]:
        """Yields what is recorded while nothing ends the window; returns what did."""
        stop, tracer = self._stop, self._tracer
        while (reason := stop.reason(tracer)) is None:
            if self.onlooker is None:
                self._progress(terminal.remaining(stop.deadline_ns, opened_ns))
            if stop.command is not None:
                self._listeners.frames.remember(stop.command.pid)
            patience_s = min(stop.patience_s(), self._listeners.patience_s())
            if self.onlooker is not None:
                patience_s = min(patience_s, self.onlooker.patience_s())
            yield from self._told(self._new(tracer.read(patience_s, stop.descriptors())))
            self._tell_of_flood()
            yield from self._kept(self._listeners.look(tracer))
            if self.onlooker is not None and tracer.alive:
                self.onlooker.look(self._standing(opened_ns))
        return reason

    def _standing(self, opened_ns: int) -> Standing:
        now_ns, deadline_ns = time.monotonic_ns(), self._stop.deadline_ns
        left_ns = None if deadline_ns is None else max(0, deadline_ns - now_ns)
        dropped = self._tracer.thinning.dropped()
        return Standing(self._tracer.pid, now_ns - opened_ns, left_ns, dropped)

    def _closed(self) -> Iterator[Record]:
        yield from self._kept(self._listeners.look(self._tracer, last=True))
        yield from self._told(self._last_lines)
        thinning = self._tracer.thinning
        yield from self._kept([thinning.dropped()] if thinning.has_dropped else [])
        yield from self._kept(self._listeners.told())
        if self._stop.command is None or self._options.system_wide:
            yield from self._kept([look.look(self._chosen.filter.owner.pids)])

    def _told(self, lines: Iterable[str]) -> Iterator[Record]:
        """bpftrace's lines as records, with those that listeners add."""
        return self._kept(self._listeners.heard(self._decoder.decode(self._written(lines))))

    def _new(self, lines: list[str]) -> list[str]:
        """The lines, remembered before any of them is looked at."""
        self._backlog.add(lines)
        return lines

    def _closing(self) -> Iterator[str]:
        for line in self._tracer.close_window():
            self._backlog.add([line])
            yield line

    def _written(self, lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            self._keep(line)
            yield line

    def _kept(self, records: Iterable[Record]) -> Iterator[Record]:
        """Writes our own records to the raw stream, where bpftrace's lines are already."""
        for record in records:
            if isinstance(record, OWN):
                line = record.line()
                self._backlog.add([line])
                self._keep(line)
            yield record

    def _keep(self, line: str) -> None:
        if self._raw is not None:
            self._raw.keep(line)

    def _tell_of_flood(self) -> None:
        if self._tracer.thinning.has_dropped and not self._has_told_of_flood:
            self._has_told_of_flood = True
            terminal.say(FLOOD)

    def _failure(self, reason: EndedBy) -> str | None:
        """The sentence for a bpftrace that died."""
        status = self._tracer.status
        if reason != "bpftrace_died" and status in (0, None):
            return None
        engine = "bpftrace" if self._script.plan is None else "the tracefs engine"
        return (
            f"{engine} ended before the window did ({how_ended(status)}); what it had printed "
            f"is above. {' / '.join(self._tracer.diagnostics[-3:])}"
        )

    def _progress(self, text: str) -> None:
        terminal.progress(text, quiet=self._options.quiet)


def params_in_units(chosen: Profile) -> dict[str, int]:
    """Returns the parameters with their units in the names: threshold -> threshold_ns."""
    declared = chosen.template.declaration.params
    suffix = {"duration": "_ns", "size": "_bytes", "int": ""}
    return {name + suffix[declared[name].type]: value for name, value in chosen.params.items()}


def _as_machine_counts(chosen: Profile, machine: Machine) -> Profile:
    """The profile, its filter's pids as the initial PID namespace has them."""
    sides = {"owner": chosen.filter.owner, "actor": chosen.filter.actor}
    ours = [pid for side in sides.values() for pid in side.pids]
    known = iter(pid_namespace.translate(machine.path, ours) if ours else [])
    given = {n: {"pid": [next(known) for _ in side.pids]} for n, side in sides.items() if side.pids}
    return replace(chosen, filter=merge(chosen.filter, given))


def _is_tree(options: Options) -> bool:
    return bool(options.command) and not options.system_wide


def _head(
    chosen: Profile, machine: Machine, rendered: Script, start: str, options: Options
) -> Head:
    return Head(
        profile=ProfileInfo(
            chosen.name,
            chosen.template.name,
            params_in_units(chosen),
            chosen.filter.model_dump(mode="json", exclude_none=True),
            rendered.sha256,
            rendered.locks,
            rendered.sample,
            _is_tree(options),
        ),
        target=TargetInfo(
            machine.kernel, machine.arch, machine.cpus, machine.bpftrace, dict(machine.facts)
        ),
        tool=Tool("mmaplock-bt", __version__),
        start=start,
        argv=[plain(word) for word in options.command] or None,
        outputs=rendered.outputs,
        probes=rendered.probes,
        books=rendered.books,
        findings=chosen.template.declaration.findings,
        calm=chosen.template.declaration.calm,
    )


def _roots(chosen: Profile) -> dict[str, tuple[int, ...]]:
    """The pids at the roots of each of the script's maps of descendants."""
    sides = {"tree": chosen.filter.owner, "acting": chosen.filter.actor}
    return {name: side.pids for name, side in sides.items() if side.descendants}


def _tell_ready(fd: int | None) -> None:
    """Tells whoever reads the other end that the window is open. Raises UsageError."""
    if fd is None:
        return
    try:
        os.write(fd, b"ready\n")
        os.close(fd)
    except OSError as error:
        raise UsageError(f"--ready-fd {fd}: {error.strerror}") from error


def _pidfd(option: str, pid: int, stack: ExitStack) -> int:
    try:
        found = os.pidfd_open(pid)
    except OSError as error:
        raise UsageError(f"{option} {pid}: {_no_process(pid, error)}") from error
    stack.callback(os.close, found)
    return found


def _no_process(pid: int, error: OSError) -> str:
    """Why no descriptor of a process could be had; a thread's id is none of a process."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "there is no such process"
    leader = next((line.split()[1] for line in status.splitlines() if line.startswith("Tgid:")), "")
    if leader != str(pid):
        return f"this is a thread of process {leader}: give {leader}"
    return f"this process cannot be watched: {error.strerror}"
