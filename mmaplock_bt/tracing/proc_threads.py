"""Threads as /proc shows them, by files that take no mmap_lock."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mmaplock_bt.stream import lock_frames

PROC = Path("/proc")
ON_CPU = "0"  # the wchan of one that runs, or could

# Asleep for something else altogether: not worth a stack.
_IDLE = lock_frames.functions(r"""
    futex_\w+ ep_poll do_epoll_\w+ do_sys_poll do_poll\w* poll_schedule_timeout do_select
    (?:do|hrtimer)_nanosleep common_nsleep do_wait\w* wait_woken \w*pipe_read \w*pipe_write
    unix_stream_\w+ unix_wait_\w+ inet_\w+ tcp_\w+ __skb_wait\w* skb_wait\w* worker_thread
    rescuer_thread kthread\w* rcu_\w+ smpboot_thread_fn do_sigtimedwait sigsuspend SYS_pause
    n_tty_read kswapd\w* kcompactd\w* irq_thread signalfd_\w+ inotify_read eventfd_read
    io_cqring_wait io_wq_worker ptrace_stop do_signal_stop kvm_vcpu_block
""")


@dataclass(frozen=True)
class ProcThread:
    """A thread; `wchan` is the function that it sleeps in, '' for a thread that is gone."""

    folder: Path  # /proc/PID/task/TID
    pid: int
    tid: int
    wchan: str

    @property
    def comm(self) -> str:
        return text(self.folder / "comm")

    @property
    def state(self) -> str:
        """'D' for one that sleeps whatever signals come, ...; '' for one that is gone."""
        words = text(self.folder / "stat").rpartition(")")[2].split()
        return words[0] if words else ""

    @property
    def is_idle(self) -> bool:
        """Whether it sleeps for something that has nothing to do with memory."""
        return not self.wchan or _IDLE.fullmatch(self.wchan) is not None


def processes(proc: Path = PROC) -> list[int]:
    """Returns the ids of all processes."""
    return _numbers(proc)


def threads(pid: int, proc: Path = PROC) -> Iterator[ProcThread]:
    """Yields the threads of a process, whose id may be that of any of them."""
    for tid in _numbers(proc / str(pid) / "task"):
        folder = proc / str(pid) / "task" / str(tid)
        yield ProcThread(folder, pid, tid, text(folder / "wchan"))


def text(path: Path) -> str:
    """Returns the file's text; '' where the thread is gone."""
    with suppress(OSError):
        return path.read_text(errors="backslashreplace").rstrip("\n")
    return ""


def _numbers(folder: Path) -> list[int]:
    with suppress(OSError):
        return sorted(int(one.name) for one in folder.iterdir() if one.name.isdecimal())
    return []
