"""Work that may hang in the kernel, for as long as one is willing to wait for it."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

MOST_STUCK = 8
_T = TypeVar("_T")
_stuck: list[threading.Thread] = []


def within(seconds: float, work: Callable[[], _T]) -> _T | None:
    """Returns what work() returns, from a thread of its own.

    None where it takes longer (the thread is left behind), where it raises OSError or ValueError,
    and at once while MOST_STUCK of those that were left behind have not come back.
    """
    _stuck[:] = [one for one in _stuck if one.is_alive()]
    if len(_stuck) >= MOST_STUCK:
        return None
    found: list[_T] = []

    def run() -> None:
        with suppress(OSError, ValueError):
            found.append(work())

    worker = threading.Thread(target=run, daemon=True)
    worker.start()
    worker.join(seconds)
    if worker.is_alive():
        _stuck.append(worker)
        return None
    return found[0] if found else None
