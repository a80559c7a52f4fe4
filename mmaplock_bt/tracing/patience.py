"""Work that may hang in the kernel, for as long as one is willing to wait for it."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from mmaplock_bt.machine import cpu_time

MOST_STUCK = 8
LONGEST = 8  # times as long is waited, however long the work waits for a CPU
_T = TypeVar("_T")
_stuck: list[threading.Thread] = []


@dataclass(frozen=True)
class Waited(Generic[_T]):
    """What work returned, how long it took without waits for a CPU, in s, and whether it hangs."""

    found: _T | None
    took_s: float
    hangs: bool


def within(seconds: float, work: Callable[[], _T]) -> _T | None:
    """Returns what waited() finds."""
    return waited(seconds, work).found


def waited(seconds: float, work: Callable[[], _T]) -> Waited[_T]:
    """Finds what work() returns, from a thread of its own.

    None where it takes longer (the thread is left behind), where it raises OSError or ValueError,
    and at once while MOST_STUCK of those that were left behind have not come back. On a busy
    machine what takes 1 ms may be done after a second: waits for a CPU do not count.
    """
    _stuck[:] = [one for one in _stuck if one.is_alive()]
    if len(_stuck) >= MOST_STUCK:
        return Waited(None, 0.0, hangs=False)
    found: list[_T] = []
    ended: list[float] = []

    def run() -> None:
        with suppress(OSError, ValueError):
            found.append(work())
        ended.append(cpu_time.waited_s())

    worker = threading.Thread(target=run, daemon=True)
    began_s, own_s = time.monotonic(), cpu_time.waited_s()
    worker.start()
    while True:
        is_over = bool(ended)
        in_queue_s = ended[0] if is_over else cpu_time.waited_s(worker.native_id)
        lasted_s = time.monotonic() - began_s
        took_s = max(0.0, lasted_s - in_queue_s - (cpu_time.waited_s() - own_s))
        if is_over or took_s >= seconds or lasted_s >= LONGEST * seconds:
            break
        worker.join(seconds - took_s)
    if not is_over:
        _stuck.append(worker)
    return Waited(found[0] if found else None, took_s, hangs=not is_over)
