"""What is printed on standard error while a window is open."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mmaplock_bt import standard_streams
from mmaplock_bt.escaping import safe
from mmaplock_bt.units import format_ns

CLEAR = "\r\x1b[K"
_sayers: list[Callable[[str], None]] = []  # the last one has the terminal


def say(sentence: str) -> None:
    """Prints a sentence; on a terminal over the countdown's line."""
    if _sayers:
        _sayers[-1](sentence)
        return
    if sys.stderr.isatty():
        standard_streams.draw(CLEAR)
    standard_streams.tell(sentence)


@contextmanager
def taken(say_instead: Callable[[str], None]) -> Iterator[None]:
    """The terminal is another's, who is handed the sentences."""
    _sayers.append(say_instead)
    try:
        yield
    finally:
        _sayers.remove(say_instead)


def progress(text: str, *, quiet: bool) -> None:
    """Rewrites the countdown's line; does nothing off a terminal or when `quiet`."""
    if sys.stderr.isatty() and not quiet:
        standard_streams.draw(CLEAR + safe(text))


def remaining(deadline_ns: int | None, opened_ns: int) -> str:
    """Returns words for how long the window has been open, or will be.

    Both times are ns of the monotonic clock.
    """
    now = time.monotonic_ns()
    if deadline_ns is not None:
        return f"tracing, {max(0, deadline_ns - now) / 1e9:.1f} s left (Ctrl-C ends it)"
    return f"tracing for {format_ns(now - opened_ns)} (Ctrl-C ends it)"
