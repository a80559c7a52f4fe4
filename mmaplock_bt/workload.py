"""Workloads whose lock events are known, for `selftest`, the demo and the tests.

Run as `python -m mmaplock_bt.workload NAME [ARGUMENT...]`; each prints one JSON object of counts.
"""

import contextlib
import ctypes
import json
import mmap
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

# What a child runs first, so that reports show it under a name of its own.
# Ctrl-C, which goes to it too, is no error of its.
QUIET_END = "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
AGENT = "open('/proc/self/comm', 'w').write('agent')\n" + QUIET_END
PAGE = mmap.PAGESIZE
MIB = 1 << 20
PR_SET_NAME = 15
HOSTILE_NAME = b'a",b\n\x1b[31m'
MADV_NOHUGEPAGE = 15
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def touched(size: int) -> int:
    """Maps `size` bytes of private memory in small pages, writes to each, returns the address."""
    address: int = _libc.mmap(None, size, 3, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    # With huge pages fork would copy a 512th of the entries and be too short to be seen.
    _libc.madvise(address, size, MADV_NOHUGEPAGE)
    for offset in range(0, size, PAGE):
        ctypes.c_char.from_address(address + offset).value = b"x"
    return address


def forks(count: int = 23, size_mib: int = 512) -> dict[str, int]:
    """Forks `count` times with `size_mib` of touched memory: that many dup_mmap write holds."""
    touched(size_mib * MIB)
    for _ in range(count):
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
    return {"forks": count}


def munmaps(count: int = 1009, pages: int = 4) -> dict[str, int]:
    """Maps, touches and unmaps `count` times: each munmap downgrades once."""
    for _ in range(count):
        address = touched(pages * PAGE)
        _libc.munmap(address, pages * PAGE)
    return {"munmaps": count}


def smaps(rounds: int = 7, size_mib: int = 1024) -> dict[str, int]:
    """Maps and unmaps while a child reads this process's smaps_rollup `rounds` times.

    Not smaps itself, which is read without mmap_lock on kernels after 6.18.
    """
    touched(size_mib * MIB)
    code = AGENT + (
        "import os,sys\n"
        "print('ready', flush=True)\n"
        "for _ in range(int(sys.argv[2])):\n"
        "    open(f'/proc/{sys.argv[1]}/smaps_rollup').read()\n"
    )
    reader = subprocess.Popen(
        [sys.executable, "-c", code, str(os.getpid()), str(rounds)], stdout=subprocess.PIPE
    )
    assert reader.stdout is not None
    reader.stdout.readline()
    mapped = 0
    # 0x22 is MAP_PRIVATE | MAP_ANONYMOUS, 3 is PROT_READ | PROT_WRITE.
    while reader.poll() is None:
        _libc.munmap(_libc.mmap(None, PAGE, 3, 0x22, -1, 0), PAGE)
        mapped += 1
    return {"reader": reader.pid, "mapped": mapped}


def named(name: bytes, body: Callable[[], object]) -> None:
    """Runs `body` in a thread of this name and waits for it."""

    def renamed() -> None:
        _libc.prctl(PR_SET_NAME, name, 0, 0, 0)
        body()

    thread = threading.Thread(target=renamed)
    thread.start()
    thread.join()


def known(count: int = 1009, rounds: int = 23, size_mib: int = 128) -> dict[str, int]:
    """Makes short holds (munmap) and long ones (fork) in a thread named `known-thread`."""
    named(b"known-thread", lambda: (munmaps(count), forks(rounds, size_mib)))
    return {"munmaps": count, "forks": rounds}


def hostile(count: int = 23) -> dict[str, int]:
    """Unmaps in a thread whose name has a quote, a comma, a newline and an escape sequence."""
    named(HOSTILE_NAME, lambda: munmaps(count))
    return {"munmaps": count}


def convoy(rounds: int = 7, size_mib: int = 2048, readers: int = 3) -> dict[str, int]:
    """Makes convoys: a child reads smaps_rollup, a thread maps, `readers` threads call mincore.

    The child reads `rounds` times and rests for 50 ms between.
    """
    address = touched(size_mib * MIB)
    sys.setswitchinterval(1e-4)  # else a thread waits 5 ms and more for the interpreter's own lock
    going = True

    def maps() -> None:
        while going:
            _libc.munmap(_libc.mmap(None, PAGE, 3, 0x22, -1, 0), PAGE)

    def asks() -> None:
        vector = ctypes.create_string_buffer(1)
        while going:
            _libc.mincore(address, PAGE, vector)

    threads = [threading.Thread(target=work) for work in (maps, *[asks] * readers)]
    code = AGENT + (
        "import sys,time\n"
        "for _ in range(int(sys.argv[2])):\n"
        "    open(f'/proc/{sys.argv[1]}/smaps_rollup').read()\n"
        "    time.sleep(0.05)\n"
    )
    for thread in threads:
        thread.start()
    reader = subprocess.Popen([sys.executable, "-c", code, str(os.getpid()), str(rounds)])
    reader.wait()
    going = False
    for thread in threads:
        thread.join()
    return {"reader": reader.pid, "rounds": rounds}


def shares(rounds: int = 7, size_mib: int = 1024) -> dict[str, int]:
    """Maps in a thread while child a, then child b with half the rounds, read smaps_rollup.

    Returns how long the reads of each took, in ns: the mapping thread waits for just that long.
    """
    touched(size_mib * MIB)
    going = True

    def maps() -> None:
        while going:
            _libc.munmap(_libc.mmap(None, PAGE, 3, 0x22, -1, 0), PAGE)

    code = AGENT + (
        "import sys,time\n"
        "began = time.monotonic_ns()\n"
        "for _ in range(int(sys.argv[2])): open(f'/proc/{sys.argv[1]}/smaps_rollup').read()\n"
        "print(time.monotonic_ns() - began)\n"
    )
    thread = threading.Thread(target=maps)
    thread.start()
    told: dict[str, int] = {}
    for name, count in (("a", 2 * rounds), ("b", rounds)):
        reader = subprocess.Popen(
            [sys.executable, "-c", code, str(os.getpid()), str(count)], stdout=subprocess.PIPE
        )
        told |= {f"{name}_pid": reader.pid, f"{name}_ns": int(reader.communicate()[0])}
    going = False
    thread.join()
    return told


def stalled(at_least_ms: int = 300, size_mib: int = 1024) -> dict[str, int]:
    """Maps while a child named smaps-reader reads smaps_rollup for so long, one after the other.

    Returns how long it slept in turns in which it slept 1 ms or more, in ns: what the reads cost.
    """
    touched(size_mib * MIB)
    code = AGENT.replace("agent", "smaps-reader") + (
        "import sys,time\n"
        "print('ready', flush=True)\n"
        "end = time.monotonic() + int(sys.argv[2]) / 1000\n"
        "while time.monotonic() < end: open(f'/proc/{sys.argv[1]}/smaps_rollup').read()\n"
    )
    with contextlib.suppress(PermissionError):  # else both wait for a CPU, too
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    reader = subprocess.Popen(
        [sys.executable, "-c", code, str(os.getpid()), str(at_least_ms)], stdout=subprocess.PIPE
    )
    assert reader.stdout is not None
    reader.stdout.readline()
    stalled_ns = longest_ns = 0
    now = _asleep_ns()
    while reader.poll() is None:
        _libc.munmap(_libc.mmap(None, PAGE, 3, 0x22, -1, 0), PAGE)
        began, now = now, _asleep_ns()  # all of a turn: the interpreter asks for it, too
        stalled_ns += now - began if now - began >= 10**6 else 0
        longest_ns = max(longest_ns, now - began)
    return {"reader": reader.pid, "stalled_ns": stalled_ns, "longest_ns": longest_ns}


def _asleep_ns() -> int:
    """The clock less what this thread ran and waited for a CPU: no lock is to blame for that."""
    without_cpu_ns = int(Path("/proc/thread-self/schedstat").read_text().split()[1])
    return time.monotonic_ns() - time.thread_time_ns() - without_cpu_ns


def populate(size_mib: int = 1024, rounds: int = 1) -> dict[str, int]:
    """Maps `rounds` times with MAP_POPULATE: a read hold for as long as the pages take."""
    for _ in range(rounds):
        address = _libc.mmap(None, size_mib * MIB, 3, 0x22 | mmap.MAP_POPULATE, -1, 0)
        _libc.munmap(address, size_mib * MIB)
    return {"populates": rounds}


def foreign(rounds: int = 7, gap_ms: int = 250, size_mib: int = 64) -> dict[str, int]:
    """Has a child read this process's smaps_rollup every `gap_ms`, by the clock: foreign holds."""
    touched(size_mib * MIB)
    code = AGENT + (
        "import sys,time\n"
        "began = time.monotonic()\n"
        "for turn in range(int(sys.argv[2])):\n"
        "    time.sleep(max(0, began + turn * int(sys.argv[3]) / 1000 - time.monotonic()))\n"
        "    open(f'/proc/{sys.argv[1]}/smaps_rollup').read()\n"
    )
    reader = subprocess.Popen(
        [sys.executable, "-c", code, str(os.getpid()), str(rounds), str(gap_ms)]
    )
    reader.wait()
    return {"reader": reader.pid, "rounds": rounds}


def frozen(seconds: int = 3, size_mib: int = 1024, maps: int = 0) -> dict[str, int]:
    """Freezes a reader of smaps_rollup with the lock held, for `seconds`.

    The reader is SCHED_IDLE and reads over and over; a SCHED_FIFO process spins on its CPU. With
    `maps` a new thread maps every 100 ms meanwhile, and queues.
    """
    touched(size_mib * MIB)
    cpu = max(os.sched_getaffinity(0))
    code = AGENT + (
        "import os,sys\n"
        f"os.sched_setaffinity(0, {{{cpu}}})\n"
        "os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))\n"
        "print('ready', flush=True)\n"
        "while True: open(f'/proc/{sys.argv[1]}/smaps_rollup').read()\n"
    )
    hog = (
        "import os,time\n"
        f"os.sched_setaffinity(0, {{{cpu}}})\n"
        "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))\n"
        f"end = time.monotonic() + {seconds}\n"
        "while time.monotonic() < end: pass\n"
    )
    reader = subprocess.Popen(
        [sys.executable, "-c", code, str(os.getpid())], stdout=subprocess.PIPE
    )
    assert reader.stdout is not None
    reader.stdout.readline()
    spinning = subprocess.Popen([sys.executable, "-c", hog])
    threads: list[threading.Thread] = []
    while maps and spinning.poll() is None:
        # A new one each time: each is stuck behind the reader.
        threads.append(threading.Thread(target=munmaps, args=(1, 1)))
        threads[-1].start()
        time.sleep(0.1)
    spinning.wait()
    reader.kill()
    reader.wait()
    for thread in threads:
        thread.join()
    return {"reader": reader.pid, "seconds": seconds}


def faults(mappings: int = 23, pages: int = 43) -> dict[str, int]:
    """Touches `pages` small pages of each of `mappings` mappings, none like its neighbour."""
    size = pages * PAGE
    step = size + PAGE
    start = _libc.mmap(None, mappings * step, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    for address in range(start, start + mappings * step, step):
        _libc.mprotect(address, size, 3)
        _libc.madvise(address, size, MADV_NOHUGEPAGE)
        for offset in range(0, size, PAGE):
            ctypes.c_char.from_address(address + offset).value = b"x"
    return {"mappings": mappings, "pages": pages}


def mincores(count: int = 100_000) -> dict[str, int]:
    """Takes `count` uncontended read locks in a row and returns how long that took, in ns."""
    address = touched(PAGE)
    vector = ctypes.create_string_buffer(1)
    # mincore takes exactly one read lock, and no per-VMA lock instead (6.4 and later).
    began = time.monotonic_ns()
    for _ in range(count):
        _libc.mincore(address, PAGE, vector)
    return {"mincores": count, "ns": time.monotonic_ns() - began}


WORKLOADS: dict[str, Callable[..., dict[str, int]]] = {
    "forks": forks,
    "munmaps": munmaps,
    "smaps": smaps,
    "known": known,
    "hostile": hostile,
    "mincores": mincores,
    "faults": faults,
    "convoy": convoy,
    "shares": shares,
    "stalled": stalled,
    "populate": populate,
    "foreign": foreign,
    "frozen": frozen,
}


def main(argv: list[str]) -> int:
    """Runs the workload named by the first word and prints its counts as JSON."""
    name, *arguments = argv
    told = {"pid": os.getpid(), **WORKLOADS[name](*map(int, arguments))}
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(told), flush=True)
    return 0


def command(name: str, *arguments: int) -> list[str]:
    """Returns the argv that runs a workload as a process of its own."""
    return [sys.executable, str(Path(__file__).resolve()), name, *map(str, arguments)]


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(main(sys.argv[1:]))
