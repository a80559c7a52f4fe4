"""The signals that ask a program to end, and those of them that this process was born ignoring."""

import signal
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# As nohup and background jobs of shells leave them. Looked at when this is imported: before
# anything is changed. A command inherits them as this process did.
IGNORED = frozenset(number for number in ENDING if signal.getsignal(number) is signal.SIG_IGN)
# By name it is meant, also for a shell's background job, which is born ignoring it.
CAUGHT = tuple(number for number in ENDING if number not in IGNORED or number == signal.SIGINT)


_heard: list[int] = []


def hear_interrupts() -> None:
    """Has SIGINT raise KeyboardInterrupt, in a shell's background job, too."""
    signal.signal(signal.SIGINT, _interrupt)


def is_interrupted() -> bool:
    """Whether it did, whatever became of the exception."""
    return bool(_heard)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    _heard.append(number)
    raise KeyboardInterrupt
