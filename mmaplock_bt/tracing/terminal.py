"""What is printed on standard error while a window is open."""

import sys
import time

from mmaplock_bt.units import format_ns, safe

CLEAR = "\r\x1b[K"


def say(sentence: str) -> None:
    """Prints a sentence; on a terminal over the countdown's line."""
    clear = CLEAR if sys.stderr.isatty() else ""
    sys.stderr.write(f"{clear}{safe(sentence)}\n")
    sys.stderr.flush()


def progress(text: str, *, quiet: bool) -> None:
    """Rewrites the countdown's line; does nothing off a terminal or when `quiet`."""
    if sys.stderr.isatty() and not quiet:
        sys.stderr.write(CLEAR + text)
        sys.stderr.flush()


def remaining(deadline_ns: int | None, opened_ns: int) -> str:
    """Returns words for how long the window has been open, or will be.

    Both times are ns of the monotonic clock.
    """
    now = time.monotonic_ns()
    if deadline_ns is not None:
        return f"tracing, {max(0, deadline_ns - now) / 1e9:.1f} s left (Ctrl-C ends it)"
    return f"tracing for {format_ns(now - opened_ns)} (Ctrl-C ends it)"
