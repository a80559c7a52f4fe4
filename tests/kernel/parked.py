"""A lock that is held for just as long as the test says, and threads that wait for it when told.

A page of a FUSE file is read through /proc/PID/mem: the fault may not let go of PID's mmap_lock
while it waits for the page, and the page comes when the test answers. So the reader holds the lock,
off its CPU.
"""

import ctypes
import os
import queue
import select
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.limits import limit_s

PAGE = 4096
PAGES = 1021
PATIENCE_S = limit_s(60)
MNT_DETACH = 2
ENOSYS = 38
# include/uapi/linux/fuse.h: opcodes, and those that want no answer.
GETATTR, OPEN, READ, INIT = 3, 14, 15, 26
UNANSWERED = (2, 36, 42)
_libc = ctypes.CDLL(None, use_errno=True)


def until(condition: Callable[[], object], what: str) -> None:
    """Waits for the condition; a test that waits in vain fails."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"in vain: {what}"
        select.select([], [], [], 0.002)


def pause(ns: int) -> None:
    """Lets time pass."""
    end_ns = time.monotonic_ns() + ns
    until(lambda: time.monotonic_ns() >= end_ns, "time passes")


class Pages:
    """A file whose pages come when `answer` is called; the mount point is the file itself."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.wanted: queue.Queue[tuple[int, int]] = queue.Queue()
        path.touch()
        self.fuse = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self.fuse},rootmode=100444,user_id=0,group_id=0"
        if _libc.mount(b"parked", bytes(path), b"fuse", 0, options.encode()):
            os.close(self.fuse)
            raise OSError(ctypes.get_errno(), "mount")
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Unmounts; who still waits for a page gets an error."""
        _libc.umount2(bytes(self.path), MNT_DETACH)
        os.close(self.fuse)

    def answer(self) -> None:
        """Hands out the page that is waited for."""
        unique, size = self.wanted.get(timeout=PATIENCE_S)
        self._say(unique, bytes(size))

    def _serve(self) -> None:
        with suppress(OSError):  # unmounted
            while True:
                self._serve_one(os.read(self.fuse, 1 << 20))

    def _serve_one(self, asked: bytes) -> None:
        _, opcode, unique = struct.unpack_from("<IIQ", asked)
        if opcode == READ:
            self.wanted.put((unique, struct.unpack_from("<QQI", asked, 40)[2]))
        elif opcode not in UNANSWERED:
            self._say(unique, *_ANSWERS.get(opcode, (b"", ENOSYS)))

    def _say(self, unique: int, data: bytes, error: int = 0) -> None:
        os.write(self.fuse, struct.pack("<IiQ", 16 + len(data), -error, unique) + data)


_SIZE = PAGES * PAGE
_ATTRIBUTES = struct.pack("<6Q10I", 1, _SIZE, _SIZE // 512, *[0] * 6, 0o100444, 1, 0, 0, 0, PAGE, 0)
_ANSWERS = {
    INIT: (struct.pack("<4I2H2I2H28x", 7, 31, 0, 0, 12, 9, 1 << 17, 1, 1, 0) + bytes(4),),
    GETATTR: (struct.pack("<QII", 3600, 0, 0) + _ATTRIBUTES,),
    OPEN: (struct.pack("<QII", 1, 0, 0),),
}

# Workers are there before the lock is held: to make a thread takes it. Each does its work once for
# every byte that it gets.
OWNER = """
import ctypes, mmap, os, sys, threading
path, *workers = sys.argv[1:]
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
libc.madvise.argtypes = libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
file = os.open(path, os.O_RDONLY)
pages = libc.mmap(None, os.fstat(file).st_size, 1, 1, file, 0)
memory = os.open("/proc/self/mem", os.O_RDONLY)
own = libc.mmap(None, 4096, 3, 0x22, -1, 0)
spare = [libc.mmap(None, 4096, 3, 0x22, -1, 0) for _ in range(64)]
none = libc.mmap(None, 64 * 8192, 0, 0x22, -1, 0)
untouched = [none + 8192 * n for n in range(64)]
for address in untouched:
    libc.mprotect(address, 4096, 3)
vector = ctypes.create_string_buffer(1)
MADV_HUGEPAGE, MADV_NOHUGEPAGE = 14, 15
turn = 0
def write():
    "One write lock: the flag is the other one each time."
    global turn
    turn ^= 1
    libc.madvise(own, 4096, MADV_NOHUGEPAGE if turn else MADV_HUGEPAGE)
works = {
    "read": lambda: libc.mincore(own, 4096, vector),
    "write": write,
    "touch": lambda: ctypes.memset(untouched.pop(), 1, 1),
    "drop": lambda: libc.munmap(spare.pop(), 4096),
    "unmap": lambda: libc.munmap(libc.mmap(None, 4096, 3, 0x22, -1, 0), 4096),
}
def work(name, told, done):
    with open(f"/proc/self/task/{threading.get_native_id()}/comm", "w") as comm:
        comm.write(name)
    works[name]()
    os.write(done, threading.get_native_id().to_bytes(4, "little"))
    while os.read(told, 1):
        works[name]()
        os.write(done, b"d")
threads = []
for word in workers:
    name, told, done = word.split(":")
    threads.append(threading.Thread(target=work, args=(name, int(told), int(done))))
    threads[-1].start()
print(pages, flush=True)
sys.stdin.read()
os._exit(0)
"""
HOLDER = """
import os, sys
open("/proc/self/comm", "w").write("holder")
memory = os.open(f"/proc/{sys.argv[1]}/mem", os.O_RDONLY)
print("up", flush=True)
for line in sys.stdin:
    os.pread(memory, 1, int(line))
    print("gone", flush=True)
"""
FOREIGN = """
import sys
open("/proc/self/comm", "w").write("foreign")
print("up", flush=True)
for line in sys.stdin:
    open(f"/proc/{sys.argv[1]}/smaps_rollup").read()
    print("done", flush=True)
"""
Child = subprocess.Popen


def child(code: str, *words: object, fds: tuple[int, ...] = ()) -> "Child[str]":
    """A Python process that is spoken to over its pipes."""
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code, *map(str, words)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=fds,
    )  # fmt: skip


def heard(process: "Child[str]") -> str:
    """The next line that it says."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: "Child[str]", line: object) -> None:
    """Says a line to it."""
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def is_queued(tid: int) -> bool:
    """Whether the thread sleeps in the kernel, told by a file that takes no lock."""
    return Path(f"/proc/{tid}/stat").read_text().rpartition(")")[2].split()[0] == "D"


class Worker:
    """A thread of the owner's, or a process, that takes the lock once when it is told to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tid = 0
        theirs, self.told = os.pipe()
        self.done, ours = os.pipe()
        self.fds = theirs, ours

    def go(self) -> None:
        """Has it ask for the lock."""
        os.write(self.told, b"x")

    def finish(self) -> None:
        """Waits until it had the lock."""
        assert os.read(self.done, 1) == b"d"


class Foreign:
    """A process that reads the owner's smaps_rollup."""

    name = "foreign"

    def __init__(self, owner: int) -> None:
        self.process = child(FOREIGN, owner)
        self.tid = self.process.pid
        assert heard(self.process) == "up"

    def go(self) -> None:
        tell(self.process, "x")

    def finish(self) -> None:
        assert heard(self.process) == "done"


class Parked:
    """An address space (`pid`) whose lock `holder` holds in a `with held():`."""

    def __init__(self, pages: Pages, workers: tuple[str, ...], foreign: int) -> None:
        self.pages, self.next = pages, 0
        threads = [Worker(name) for name in workers]
        words = [f"{w.name}:{w.fds[0]}:{w.fds[1]}" for w in threads]
        fds = tuple(fd for w in threads for fd in w.fds)
        self.owner = child(OWNER, pages.path, *words, fds=fds)
        for fd in fds:
            os.close(fd)
        self.pid = self.owner.pid
        self.address = int(heard(self.owner))
        for worker in threads:
            worker.tid = int.from_bytes(os.read(worker.done, 4), "little")
        self.holder = child(HOLDER, self.pid)
        assert heard(self.holder) == "up"
        self.workers = [*threads, *(Foreign(self.pid) for _ in range(foreign))]

    @contextmanager
    def held(self) -> Iterator[None]:
        """The holder has the lock; afterwards it has let go."""
        self.take()
        try:
            yield
        finally:
            self.let_go()

    def take(self) -> None:
        """Has the holder take the lock, each time for another page."""
        tell(self.holder, self.address + self.next * PAGE)
        self.next += 1
        until(lambda: not self.pages.wanted.empty(), "the holder holds")

    def let_go(self) -> None:
        """Hands out the page, and waits until the holder has let go."""
        self.pages.answer()
        assert heard(self.holder) == "gone"

    def queue(self, *workers: "Worker | Foreign") -> None:
        """Has them ask for the lock, one after the other, each when the one before waits."""
        for worker in workers or self.workers:
            worker.go()
            until(lambda tid=worker.tid: is_queued(tid), f"{worker.name} waits")

    def pause(self, ns: int) -> None:
        """Lets what is held and waited for grow older by so much."""
        pause(ns)

    def close(self) -> None:
        for worker in self.workers:
            if isinstance(worker, Foreign):
                worker.process.kill()
                worker.process.communicate()
            else:
                os.close(worker.told)
                os.close(worker.done)
        for process in (self.holder, self.owner):
            process.kill()
            process.communicate()


@contextmanager
def parked(folder: Path, *workers: str, foreign: int = 0) -> Iterator[Parked]:
    """An address space with foreign readers, and with threads that do what OWNER's `works` name.

    'drop' takes the lock once (unmap: twice), to write, and lets go as a reader. 'touch' has a page
    fault, the first of its mapping.
    """
    try:
        pages = Pages(folder / "pages")
    except OSError as error:
        pytest.skip(f"no FUSE file can be mounted here: {error}")
    found = None
    try:
        found = Parked(pages, workers, foreign)
        yield found
    finally:
        pages.close()
        if found is not None:
            found.close()
