"""A writer that waits for a page fault: no tracepoint tells, a look at both threads does.

The fault lasts for as long as its thread has no CPU: another one with real-time priority has it.
"""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from mmaplock_bt.tracing import current_stack
from tests.kernel.parked import pause, until
from tests.kernel.results import loaded
from tests.kernel.test_contended import MS, ended, opened

pytestmark = pytest.mark.kernel

PAUSE = 400 * MS
ROUNDS = 31
FAULTER = """
import ctypes, itertools, os, queue, sys, threading
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
SIZE = 64 << 20
place = libc.mmap(None, SIZE, 3, 0x22, -1, 0)
libc.madvise(place, SIZE, 14)  # MADV_HUGEPAGE: one fault clears 2 MiB
advice = itertools.cycle((16, 17))  # MADV_DONTDUMP, MADV_DODUMP: each changes the mapping
def fault():
    os.sched_setaffinity(0, {0})
    while True:
        libc.memset(place, 1, SIZE)
        libc.madvise(place, SIZE, 4)
def write():
    libc.madvise(place, SIZE, next(advice))
def meet():
    libc.mmap(None, 4096, 3, 0x22, -1, 0)
def tell(*words):
    os.write(1, b"%s %s\\n" % tuple(str(word).encode() for word in words))
class Worker(threading.Thread):
    def __init__(self, work):
        super().__init__(name=work.__name__, daemon=True)
        self.work, self.turns = work, queue.SimpleQueue()
        self.start()
    def run(self):
        libc.prctl(15, self.name.encode())  # PR_SET_NAME
        tell(self.name, threading.get_native_id())
        while self.turns.get():
            self.work()
            tell(self.name, "done")
os.sched_setaffinity(0, {1})
workers = {work.__name__: Worker(work) for work in (fault, write, meet)}
for line in sys.stdin:
    workers[line.strip()].turns.put(True)
"""
# Until it is told to stop nobody else has CPU 0.
HOG = """
import os, select, sys
os.sched_setaffinity(0, {0})
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
while sys.stdin.readline():
    print("on", flush=True)
    while not select.select([0], [], [], 0)[0]: pass
    sys.stdin.readline()
"""


def child(script):
    words = sys.executable, "-I", "-S", "-u", "-c", script
    return subprocess.Popen(words, stdin=-1, stdout=-1, text=True, bufsize=1)


class Flight:
    """A process with a thread that faults, one that will write and one that meets the writer."""

    def __init__(self, process, hog):
        self._process, self._hog = process, hog
        self.pid = process.pid
        told = (process.stdout.readline().split() for _ in range(3))
        self.tids = {name: int(tid) for name, tid in told}
        self.tell("fault")

    def tell(self, name):
        self._process.stdin.write(f"{name}\n")

    def heard(self):
        return self._process.stdout.readline().split()[0]

    def stack(self, name):
        return current_stack.of_thread(self.tids[name])

    def in_a_fault(self):
        """Takes the faulting thread's CPU after some faults more: whether it is in one."""
        begun_ns = self.ran_ns()
        until(lambda: self.ran_ns() > begun_ns + 3 * MS, "some faults more")
        self._hog.stdin.write("\n")
        assert self._hog.stdout.readline() == "on\n"
        return any(frame.startswith("handle_mm_fault") for frame in self.stack("fault"))

    def ran_ns(self):
        folder = Path(f"/proc/{self.pid}/task/{self.tids['fault']}")
        return int((folder / "schedstat").read_text().split()[0])

    def land(self):
        self._hog.stdin.write("\n")


@contextmanager
def flight():
    hog, process = child(HOG), child(FAULTER)
    try:
        yield Flight(process, hog)
    finally:
        for one in (hog, process):
            one.kill()
            one.communicate()


@pytest.fixture
def flying(kernel):
    if not kernel.facts["per_vma_locks"]:
        pytest.skip("before Linux 6.4 a fault holds mmap_lock")
    if not {0, 1} <= os.sched_getaffinity(0):
        pytest.skip("it takes two CPUs")
    with flight() as found:
        yield found


def waits_for_the_fault(flying):
    """One round: whether the writer waited for the fault, with a third thread behind it."""
    seen = flying.in_a_fault()
    if seen:
        flying.tell("write")
        until(lambda: "start_write" in str(flying.stack("write")), "the writer's wait")
        flying.tell("meet")
        until(lambda: "vm_mmap_pgoff" in str(flying.stack("meet")), "the one behind it")
        pause(PAUSE)
    flying.land()
    if seen:
        assert {flying.heard(), flying.heard()} == {"write", "meet"}
    return seen


def test_a_writer_that_waits_for_a_fault_is_told_with_the_faulting_thread(flying):
    runs = opened("blame", "-p", str(flying.pid), "--set", "poll=20ms")
    assert any(waits_for_the_fault(flying) for _ in range(ROUNDS)), "never in a fault"
    for result in ended(runs):
        (row,) = [row for row in result.outputs["blame"].rows if row["sum"] >= PAUSE]
        assert row["key"]["cause"] == "madvise(MADV_DONTDUMP)"
        assert row["reason"] == "page faults under way"
        assert (row["faulting_tid"], row["faulting_comm"]) == (flying.tids["fault"], "fault")
        assert "handle_mm_fault" in str(row["faulting_stack"])
        assert "start_write" in str(row["current_stack"])
        told = f"kept by page faults under way (fault, thread {flying.tids['fault']})"
        assert told in result.findings[0].sentence


def test_it_is_told_while_the_writer_still_waits(flying):
    (run,) = opened(
        "stuck-locks", "-p", str(flying.pid), "--set", "poll=20ms", "--set", "limit=100ms",
        engines=["all"],
    )  # fmt: skip
    assert any(waits_for_the_fault(flying) for _ in range(ROUNDS)), "never in a fault"
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=120)
    assert run.returncode == 0, err
    assert f"for a page fault of fault, thread {flying.tids['fault']}" in err
    result = loaded(out)
    writer = flying.tids["write"]
    rows = [*result.outputs["stuck"].rows, *result.outputs["long_holds"].rows]
    told = [row for row in rows if row["tid"] == writer and row["mode"] == "write"]
    assert len(told) == 2
    for row in told:
        assert row["reason"] == "page faults under way"
        assert row["faulting_tid"] == flying.tids["fault"]
