"""SIGHUP as those who run a service mean it: read the configuration anew."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def noted() -> Iterator[Callable[[], bool]]:
    """Notes hang-ups while the block lasts; gives what tells, once, whether there was one.

    One that comes because the terminal is gone does what it did before. What nohup ignores stays
    ignored.
    """
    terminals = [descriptor for descriptor in (0, 1, 2) if os.isatty(descriptor)]
    before = signal.getsignal(signal.SIGHUP)
    count = 0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal count
        if all(map(os.isatty, terminals)):
            count += 1
        elif callable(before):
            before(number, frame)

    def was_one() -> bool:
        nonlocal count
        found, count = count, 0
        return found > 0

    if callable(before):
        signal.signal(signal.SIGHUP, note)
    try:
        yield was_one
    finally:
        signal.signal(signal.SIGHUP, before)
