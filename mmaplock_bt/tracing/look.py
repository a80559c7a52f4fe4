"""A look at threads that sleep for an mmap_lock, and at those that may hold it, from /proc.

It finds what was on before the window and makes no event in it. It is no measurement: it sees one
moment, knows a lock only by the function that asks for it, and a holder that runs not at all. None
of the files that it reads takes mmap_lock: wchan is read of every thread, stack of a few.
"""

import time
from collections.abc import Iterator
from pathlib import Path

from mmaplock_bt.result.model import Role
from mmaplock_bt.stream import lock_frames
from mmaplock_bt.stream.records import Sleeper, Sleepers
from mmaplock_bt.tracing import current_stack, proc_threads
from mmaplock_bt.tracing.proc_threads import ProcThread, text

PATIENCE_S = 0.5
STILL_S = 0.1
STACKS = 200
SHOWN = 16  # of each role


def look(processes: tuple[int, ...] = (), proc: Path = proc_threads.PROC) -> Sleepers:
    """Looks at every thread, or for those that wait at some processes and whoever reaches into it.

    Who waits has done so for STILL_S. It ends after PATIENCE_S, and reads no more than STACKS
    stacks; `cut` says that it did.
    """
    deadline = time.monotonic() + PATIENCE_S
    waiting: list[ProcThread] = []
    others: list[ProcThread] = []
    cut = False
    for thread in _asleep(proc):
        if cut := time.monotonic() > deadline:
            break
        (waiting if lock_frames.asks(thread.wchan) else others).append(thread)
    stacks = _Stacks(deadline)
    waits = [one for thread in _still(waiting) if (one := stacks.waits(thread))]
    waits = [one for one in waits if _is_meant(one, processes)]
    pids = {one.pid for one in waits} | set(processes)
    others.sort(key=lambda thread: thread.pid not in pids)
    may_hold = [one for thread in others if waits and (one := stacks.may_hold(thread, pids))]
    cut = cut or stacks.cut or len(waits) > SHOWN or len(may_hold) > SHOWN
    return Sleepers((*waits[:SHOWN], *may_hold[:SHOWN]), cut)


def _still(waiting: list[ProcThread]) -> list[ProcThread]:
    """Those that have not run for STILL_S: somebody always waits for a moment."""
    before = {thread: text(thread.folder / "schedstat") for thread in waiting}
    if before:
        time.sleep(STILL_S)
    return [one for one, told in before.items() if text(one.folder / "schedstat") == told]


def _is_meant(waits: Sleeper, processes: tuple[int, ...]) -> bool:
    return not processes or waits.pid in processes or lock_frames.is_remote(waits.kernel_stack)


class _Stacks:
    """Reads stacks as long as it may."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._left = STACKS
        self.cut = False

    def waits(self, thread: ProcThread) -> Sleeper | None:
        """The thread, where it sleeps for the lock: uninterruptibly, in who asks for it."""
        frames = self._of(thread) if thread.state == "D" else []
        return _told(thread, "waits", frames) if frames and lock_frames.asks(frames[0]) else None

    def may_hold(self, thread: ProcThread, pids: set[int]) -> Sleeper | None:
        """The thread, where it sleeps inside of what is done with the lock held.

        Of a process that is waited in, or at work on another one's memory.
        """
        frames = self._of(thread)
        is_near = thread.pid in pids or lock_frames.is_remote(frames)
        holds = is_near and lock_frames.held(frames)
        return _told(thread, "may hold", frames) if holds else None

    def _of(self, thread: ProcThread) -> list[str]:
        if not self._left or time.monotonic() > self._deadline:
            self.cut = True
            return []
        self._left -= 1
        return current_stack.of_folder(thread.folder)


def _told(thread: ProcThread, role: Role, frames: list[str]) -> Sleeper:
    return Sleeper(thread.tid, thread.pid, thread.comm, role, frames)


def _asleep(proc: Path) -> Iterator[ProcThread]:
    for pid in proc_threads.processes(proc):
        for thread in proc_threads.threads(pid, proc):
            is_near = not thread.is_idle and thread.wchan != proc_threads.ON_CPU
            if is_near or lock_frames.asks(thread.wchan):
                yield thread
