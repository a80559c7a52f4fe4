"""Which process a thread is of and what it is called: from /proc once, then from the events.

An event names a thread by its id only. /proc is read when the events are on already; of what no
event told, no file is read that takes the process's mmap_lock, or its address space.
"""

import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

CLONE_VM, CLONE_THREAD = 0x100, 0x10000  # include/uapi/linux/sched.h
KTHREADD = 2
_DEAD = 4096  # that are remembered: a thread lets go of its last lock after it is said to exit
_COMM_BYTES = 16


@dataclass
class Thread:
    """A thread: its process (0: not known), and its name of up to 16 bytes."""

    pid: int
    comm: bytes


UNKNOWN = Thread(0, b"?")


@dataclass
class Threads:
    """Threads by id; `sharing` are children of vfork and the like: on which process's memory."""

    known: dict[int, Thread] = field(default_factory=dict)
    sharing: dict[int, int] = field(default_factory=dict)
    kernel: set[int] = field(default_factory=lambda: {KTHREADD, *_children(KTHREADD)})
    _dead: "OrderedDict[int, None]" = field(default_factory=OrderedDict)

    def look(self, proc: str = "/proc") -> None:
        """Learns all threads that there are."""
        for pid in _numbers(proc):
            for tid in _numbers(f"{proc}/{pid}/task"):
                comm = _comm(f"{proc}/{pid}/task/{tid}/comm")
                if comm is not None:
                    self.known[tid] = Thread(pid, comm)

    def of(self, tid: int) -> Thread:
        """Returns a thread; UNKNOWN for one of which nothing told."""
        return self.known.get(tid, UNKNOWN)

    def leader(self, pid: int) -> bytes:
        """Returns what a process is called, as its leader is."""
        return self.of(pid).comm

    def new(self, by: int, tid: int, comm: bytes, flags: int) -> int | None:
        """Notes a fork; returns the new process, None for a new thread."""
        parent = self.of(by)
        self._dead.pop(tid, None)
        comm = _text(comm)
        if flags & CLONE_THREAD:
            self.known[tid] = Thread(parent.pid, comm)
            return None
        self.known[tid] = Thread(tid, comm)
        self.sharing.pop(tid, None)
        if flags & CLONE_VM and parent.pid not in self.kernel:
            self.sharing[tid] = self.sharing.get(parent.pid, parent.pid)
        elif parent.pid == KTHREADD:
            self.kernel.add(tid)
        return tid

    def named(self, tid: int, comm: bytes) -> None:
        """Notes a new name."""
        self.known[tid] = Thread(self.of(tid).pid, _text(comm))

    def executed(self, tid: int, before: int) -> None:
        """Notes an exec: the thread becomes its process's leader, on memory of its own."""
        self.sharing.pop(tid, None)
        self.kernel.discard(tid)  # a helper that the kernel starts
        if before != tid and before in self.known:
            self.known[tid] = Thread(tid, self.known.pop(before).comm)

    def ended(self, tid: int) -> None:
        """Notes an exit; forgets who has exited long ago."""
        self._dead[tid] = None
        if len(self._dead) > _DEAD:
            old, _ = self._dead.popitem(last=False)
            self.known.pop(old, None)
            self.sharing.pop(old, None)
            self.kernel.discard(old)


def _numbers(folder: str) -> Iterator[int]:
    with suppress(OSError):
        yield from [int(name) for name in os.listdir(folder) if name.isdigit()]  # noqa: PTH208


def _comm(path: str) -> bytes | None:
    with suppress(OSError), open(path, "rb") as file:  # noqa: PTH123
        return file.read(_COMM_BYTES * 4).removesuffix(b"\n")[:_COMM_BYTES]
    return None


def _text(comm: bytes) -> bytes:
    return comm.split(b"\0", 1)[0]


def _children(pid: int) -> list[int]:
    with suppress(OSError, ValueError):
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
        return [int(word) for word in text.split()]
    return []
