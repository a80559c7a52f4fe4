"""A look at threads that sleep for an mmap_lock, and at those that may hold it, from /proc.

It finds what was on before the window and makes no event in it. It is no measurement: it sees one
moment, knows a lock only by the function that asks for it, and a holder that runs not at all. None
of the files that it reads takes mmap_lock: wchan is read of every thread, stack of a few.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mmaplock_bt.result.model import Role
from mmaplock_bt.stream import lock_frames
from mmaplock_bt.stream.records import Sleeper, Sleepers
from mmaplock_bt.tracing import current_stack

PROC = Path("/proc")
PATIENCE_S = 0.5
STILL_S = 0.1
STACKS = 200
SHOWN = 16  # of each role

# Asleep for something else altogether: not worth a stack.
_IDLE = lock_frames.functions(r"""
    0 futex_\w+ ep_poll do_epoll_\w+ do_sys_poll do_poll\w* poll_schedule_timeout do_select
    (?:do|hrtimer)_nanosleep common_nsleep do_wait\w* wait_woken \w*pipe_read \w*pipe_write
    unix_stream_\w+ unix_wait_\w+ inet_\w+ tcp_\w+ __skb_wait\w* skb_wait\w* worker_thread
    rescuer_thread kthread\w* rcu_\w+ smpboot_thread_fn do_sigtimedwait sigsuspend SYS_pause
    n_tty_read kswapd\w* kcompactd\w* irq_thread signalfd_\w+ inotify_read eventfd_read
    io_cqring_wait io_wq_worker ptrace_stop do_signal_stop kvm_vcpu_block
""")


@dataclass(frozen=True)
class _Asleep:
    folder: Path  # /proc/PID/task/TID
    pid: int
    tid: int
    wchan: str


def look(processes: tuple[int, ...] = (), proc: Path = PROC) -> Sleepers:
    """Looks at every thread, or for those that wait at some processes and whoever reaches into it.

    Who waits has done so for STILL_S. It ends after PATIENCE_S, and reads no more than STACKS
    stacks; `cut` says that it did.
    """
    deadline = time.monotonic() + PATIENCE_S
    waiting: list[_Asleep] = []
    others: list[_Asleep] = []
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


def _still(waiting: list[_Asleep]) -> list[_Asleep]:
    """Those that have not run for STILL_S: somebody always waits for a moment."""
    before = {thread: _text(thread.folder / "schedstat") for thread in waiting}
    if before:
        time.sleep(STILL_S)
    return [one for one, told in before.items() if _text(one.folder / "schedstat") == told]


def _is_meant(waits: Sleeper, processes: tuple[int, ...]) -> bool:
    return not processes or waits.pid in processes or lock_frames.is_remote(waits.kernel_stack)


class _Stacks:
    """Reads stacks as long as it may."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._left = STACKS
        self.cut = False

    def waits(self, thread: _Asleep) -> Sleeper | None:
        """The thread, where it sleeps for the lock: uninterruptibly, in who asks for it."""
        frames = self._of(thread) if _state(thread) == "D" else []
        return _told(thread, "waits", frames) if frames and lock_frames.asks(frames[0]) else None

    def may_hold(self, thread: _Asleep, pids: set[int]) -> Sleeper | None:
        """The thread, where it sleeps inside of what is done with the lock held.

        Of a process that is waited in, or at work on another one's memory.
        """
        frames = self._of(thread)
        is_near = thread.pid in pids or lock_frames.is_remote(frames)
        holds = is_near and lock_frames.held(frames)
        return _told(thread, "may hold", frames) if holds else None

    def _of(self, thread: _Asleep) -> list[str]:
        if not self._left or time.monotonic() > self._deadline:
            self.cut = True
            return []
        self._left -= 1
        return current_stack.of_folder(thread.folder)


def _told(thread: _Asleep, role: Role, frames: list[str]) -> Sleeper:
    return Sleeper(thread.tid, thread.pid, _text(thread.folder / "comm"), role, frames)


def _asleep(proc: Path) -> Iterator[_Asleep]:
    for pid in _numbers(proc):
        for tid in _numbers(proc / str(pid) / "task"):
            folder = proc / str(pid) / "task" / str(tid)
            wchan = _text(folder / "wchan")
            if wchan and (lock_frames.asks(wchan) or not _IDLE.fullmatch(wchan)):
                yield _Asleep(folder, pid, tid, wchan)


def _numbers(folder: Path) -> list[int]:
    with suppress(OSError):
        return sorted(int(one.name) for one in folder.iterdir() if one.name.isdecimal())
    return []


def _state(thread: _Asleep) -> str:
    words = _text(thread.folder / "stat").rpartition(")")[2].split()
    return words[0] if words else ""


def _text(path: Path) -> str:
    """The file's text; '' where the thread is gone."""
    with suppress(OSError):
        return path.read_text(errors="backslashreplace").rstrip("\n")
    return ""
