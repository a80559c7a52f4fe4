"""How a window is traced, and all that may end it."""

import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from mmaplock_bt.errors import Interrupted
from mmaplock_bt.result.model import EndedBy
from mmaplock_bt.signals import CAUGHT
from mmaplock_bt.tracing.bpftrace import Tracer
from mmaplock_bt.tracing.head_start import HeadStart
from mmaplock_bt.tracing.held_command import HeldCommand
from mmaplock_bt.tracing.overhead import Overhead

TICK_S = 0.1
Handler = Callable[[int, FrameType | None], object] | int | None


@dataclass(frozen=True)
class Options:
    """The part of the command line that says how to trace, not what."""

    command: list[str] = field(default_factory=list)
    system_wide: bool = False
    save_raw: str | None = None
    quiet: bool = False
    ready_fd: int | None = None
    head_start: HeadStart | None = None
    force: bool = False  # write over save_raw


@dataclass
class Stop:
    """What may end a window."""

    deadline_ns: int | None = None
    watched: list[int] = field(default_factory=list)  # pidfds: a window ends with the last of them
    command: HeldCommand | None = None
    overhead: Overhead | None = None

    def reason(self, tracer: Tracer) -> EndedBy | None:
        """Returns why the window ends; None while it goes on."""
        if self.interrupts:
            return "interrupt"
        if self.command is not None and self.command.status is not None:
            return "command"
        if self._have_exited():
            return "target_exit"
        if self.deadline_ns is not None and time.monotonic_ns() >= self.deadline_ns:
            return "duration"
        if self.overhead is not None and self.overhead.is_exceeded:
            return "limit"
        return None if tracer.alive else "bpftrace_died"

    def _have_exited(self) -> bool:
        """A pidfd becomes readable when its process exits (Linux 5.3); it is looked at no more."""
        exited = select.select(self.watched, [], [], 0)[0] if self.watched else []
        self.watched = [descriptor for descriptor in self.watched if descriptor not in exited]
        return bool(exited) and not self.watched

    def patience_s(self) -> float:
        """Returns how long one read may wait, in s: short near the deadline.

        The end of the command or of a watched process wakes it (descriptors).
        """
        if self.deadline_ns is None:
            return TICK_S
        return min(TICK_S, max(0.0, (self.deadline_ns - time.monotonic_ns()) / 1e9))

    def descriptors(self) -> list[int]:
        """Returns what can be read from once the command or a watched process has ended."""
        command = [] if self.command is None else [self.command.ended]
        return command + self.watched

    @property
    def interrupts(self) -> int:
        """How many signals asked for an end."""
        return noted()


def noted() -> int:
    """How many signals have asked for an end since on_signals()."""
    return _Signals.noted


def end() -> None:
    """Asks for an end, as a signal does, from any thread."""
    _Signals.noted += 1


class _Signals:
    """Those of this process."""

    noted = 0
    are_caught = False


@contextmanager
def on_signals() -> Iterator[None]:
    """Catches SIGINT, SIGTERM and SIGHUP: the first ends a window and keeps the result.

    The second raises Interrupted. What nohup ignores stays ignored. A block inside another one is
    part of that: no signal gets lost between two.
    """

    def note(_number: int, _frame: FrameType | None) -> None:
        _Signals.noted += 1
        if _Signals.noted > 1:
            raise Interrupted("interrupted twice: the result is thrown away")

    if _Signals.are_caught:
        yield
        return
    _Signals.noted, _Signals.are_caught = 0, True
    before: dict[signal.Signals, Handler] = {n: signal.signal(n, note) for n in CAUGHT}
    try:
        yield
    finally:
        _Signals.are_caught = False
        for number, handler in before.items():
            signal.signal(number, handler)
