"""The process that traces by tracefs: in bpftrace's place, with its signals and its lines.

SIGINT ends it with what it has counted; whatever else does leaves nothing behind either. Should it
be killed, the tool removes its instance; should both, whoever traces next does.
"""

import math
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mmaplock_bt.errors import Failure
from mmaplock_bt.script.plan import LOCKS, Plan
from mmaplock_bt.signals import ENDING
from mmaplock_bt.tracefs import instance, pages
from mmaplock_bt.tracefs.engine import Engine, StackOf, is_stack_asked
from mmaplock_bt.tracefs.instance import Instance
from mmaplock_bt.tracefs.pages import Event
from mmaplock_bt.tracefs.reader import Reader, buffer_kib

NAME = "tracefs-engine"  # not the tool's: who kills that by its name shall not hit this, too
POLL_S = 0.02
FAILED = 1  # as bpftrace's exit code for what it refuses
Below = Callable[[int], Iterable[int]]


class _Signals:
    """Which signal has come; a descriptor that can be read from when one has."""

    def __init__(self) -> None:
        self.came: int | None = None
        self.woken, wake = os.pipe()
        for end in (self.woken, wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in ENDING:
            signal.signal(number, self._note)

    def _note(self, number: int, _frame: object) -> None:
        self.came = signal.SIGHUP if self.came == signal.SIGHUP else number

    def wait(self, timeout_s: float | None) -> None:
        """Until one comes, or time is up."""
        if self.came is None:
            select.select([self.woken], [], [], timeout_s)


class Tracer:
    """What is traced: a plan, for the process of the tool and for the root of a tree.

    `below` returns a process's descendants, `stack_of` a thread's kernel stack.
    """

    def __init__(self, plan: Plan, tracefs: Path, below: Below, stack_of: StackOf) -> None:
        self._plan = plan
        self._tracefs = tracefs
        self._below = below
        self._stack_of = stack_of
        self._next_ns = 0

    def main(self, stream: int, pids: list[int]) -> int:
        """Traces until a signal ends it; returns the exit code. `pids` are as for a script."""
        signals = _Signals()
        try:
            Path("/proc/self/comm").write_text(NAME, encoding="ascii")
            instance.remove_left(self._tracefs)
            with Instance(self._tracefs) as own:
                return self._trace(own, signals, stream, pids)
        except Failure as failure:
            print(failure, file=sys.stderr, flush=True)
            return FAILED
        except BrokenPipeError:  # nobody is there to hear it
            return FAILED

    def _trace(self, own: Instance, signals: _Signals, stream: int, pids: list[int]) -> int:
        engine = Engine(self._plan, pids[0], pids[1], pids[2], self._stack_of)
        glimpses = Glimpses(own, self._plan)
        with Reader(own, self._tracefs) as reader:
            self._switch_on(own, glimpses)
            self._look_around(engine)
            engine.lines.message("attached_probes", {"probes": self._plan.events})
            for events in _until(signals, engine, reader):
                engine.take(events)
                self._look(engine)
                glimpses.look(engine)
                _write(stream, engine.lines.take())
            own.set("tracing_on", "0")
            for events in reader.rest():
                engine.take(events)
                if signals.came in (signal.SIGTERM, signal.SIGHUP):
                    break  # it has taken too long, or the tool is gone
            _write(stream, engine.lines.take())
            lost = own.lost(unread=signals.came == signal.SIGTERM)
        if signals.came == signal.SIGHUP:
            return FAILED
        if signals.came is None:
            signals.wait(None)  # the tool waits until this one rests, then says so
        engine.end(lost)
        _write(stream, engine.lines.take())
        return 0

    def _switch_on(self, own: Instance, glimpses: "Glimpses") -> None:
        own.set("trace_clock", "boot")  # bpftrace's nsecs since 0.12
        own.set("buffer_size_kb", str(buffer_kib(os.cpu_count() or 1)))
        own.set("options/overwrite", "1")  # only so are gaps told where they are
        for event, condition in is_stack_asked(self._plan).items():
            trigger = f"stacktrace if {condition}" if condition else "stacktrace"
            own.set(f"{_lock(event)}/trigger", trigger)
        glimpses.begin()
        for task in pages.TASKS:
            own.set(f"events/{task}/enable", "1")
        off = {"start_locking": not self._plan.waits, "released": not self._plan.holds}
        for event in LOCKS:
            if not off.get(event):
                own.set(f"{_lock(event)}/enable", "1")

    def _look_around(self, engine: Engine) -> None:
        """The events are on already: what they cannot have told is in /proc."""
        engine.threads.look()
        below = [{pid for root in tree for pid in self._below(root)} for tree in engine.roots]
        engine.include(below)
        if self._plan.stacks_of or self._plan.asks_owner:
            _ = engine.symbols.functions

    def _look(self, engine: Engine) -> None:
        """Tells what is open, where it is time to."""
        every_ns = self._plan.watch[1] if self._plan.watch else None
        if every_ns is not None and time.monotonic_ns() >= self._next_ns:
            engine.look(time.clock_gettime_ns(time.CLOCK_BOOTTIME))
            self._next_ns = time.monotonic_ns() + every_ns


def _until(signals: _Signals, engine: Engine, reader: Reader) -> Iterator[list[Event]]:
    """Yields events as they come, until the window has closed or a signal comes."""
    while signals.came is None and engine.closed_ns is None:
        started = time.monotonic()
        yield reader.read()
        signals.wait(max(0.0, POLL_S - (time.monotonic() - started)))


class Glimpses:
    """Kernel stacks for a moment now and then, where nothing but owners is to be learnt from them.

    A stack for each lock would cost more than all the rest. They are on from the start for at most
    MOST_S, and again while owners are unknown, for a tenth of the time.
    """

    MOST_S = 0.1
    REST = 9  # times as long as they were on

    def __init__(self, own: Instance, plan: Plan) -> None:
        self._own = own
        self._is_wanted = plan.asks_owner and not plan.stacks_of
        self._file = f"{_lock('released' if plan.holds else 'acquire_returned')}/trigger"
        self._since: float | None = None
        self._again = math.inf
        self._is_first = True
        self._unowned = 0

    def begin(self) -> None:
        """Switches stacks on, where they are wanted."""
        if self._is_wanted:
            self._own.set(self._file, "stacktrace")
            self._since = time.monotonic()

    def look(self, engine: Engine) -> None:
        """Switches them off or on, as what the engine knows asks for."""
        now, is_unknown = time.monotonic(), engine.unowned > self._unowned
        self._unowned = engine.unowned
        if self._is_first:  # of an open window: what came before was making ready
            self._is_first = engine.opened_ns is None
            self._since = self._since and now
        elif self._since is None:
            if is_unknown and now >= self._again:
                self.begin()
        elif now - self._since >= self.MOST_S:
            self._own.set(self._file, "!stacktrace")
            self._again = now + self.REST * (now - self._since)
            self._since = None


def _lock(event: str) -> str:
    return f"events/mmap_lock/mmap_lock_{event}"


def _write(stream: int, data: bytes) -> None:
    while data:
        data = data[os.write(stream, data) :]
