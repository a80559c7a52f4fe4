"""Page faults by the lock under which they get their page."""

import os
import re

import pytest

from tests.kernel.parked import child, heard, parked, tell
from tests.kernel.test_contended import opened, result_of

pytestmark = [pytest.mark.kernel, pytest.mark.daily]
SLACK = 60  # what Python itself touches while it reads a line
MAPPINGS, PAGES, FILE_PAGES, MEETINGS = 23, 43, 31, 7
TOUCHER = """
import ctypes, mmap, os, sys
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.madvise.argtypes = libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
mappings, pages, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
step = (pages + 1) * 4096
start = libc.mmap(None, mappings * step, 0, 0x22, -1, 0)
starts = range(start, start + mappings * step, step)
for address in starts:
    libc.mprotect(address, pages * 4096, 3)
    libc.madvise(address, pages * 4096, 15)
file = os.open(path, os.O_RDONLY)
size = os.fstat(file).st_size
view = libc.mmap(None, size, 1, 2, file, 0)
libc.madvise(view, size, 1)
os.posix_fadvise(file, 0, size, os.POSIX_FADV_DONTNEED)
def touch():
    for address in starts:
        for at in range(address, address + pages * 4096, 4096):
            ctypes.c_char.from_address(at).value = b"x"
def read():
    for at in range(view, view + size, 4096):
        ctypes.string_at(at, 1)
def faults():
    fields = open("/proc/self/stat").read().rpartition(")")[2].split()
    return int(fields[7]) + int(fields[9])
print("up", flush=True)
works = {"touch": touch, "read": read}
for line in sys.stdin:
    before = faults()
    works[line.strip()]()
    print(faults() - before, flush=True)
"""


def ways_of(result, pid):
    rows = [row for row in result.outputs["faults"].rows if row["key"]["pid"] == pid]
    return {row["key"]["fault"]: row["count"] for row in rows}


@pytest.fixture
def toucher(tmp_path, kernel):
    """A process that touches when it is told to; says how many faults the kernel counted."""
    path = tmp_path / "pages"
    path.write_bytes(os.urandom(FILE_PAGES * 4096))
    os.sync()
    process = child(TOUCHER, MAPPINGS, PAGES, path)
    assert heard(process) == "up"
    yield process
    process.kill()
    process.communicate()


def told(process, word):
    (run,) = opened("fault-path", "-p", str(process.pid), engines=["all"])
    tell(process, word)
    counted = int(heard(process))
    run.send_signal(2)
    result = result_of(run)
    ways = ways_of(result, process.pid)
    # The kernel's own count is of the work alone.
    assert 0 <= sum(ways.values()) - counted < SLACK
    waits = {row["key"]["fault"]: row["count"] for row in result.outputs["fault_waits"].rows}
    assert waits == {way: count for way, count in ways.items() if way != "own lock"}
    assert result.books.residue == 0 and result.loss.complete
    return ways


def test_a_mapping_has_its_pages_under_its_own_lock_from_the_second_on(toucher, kernel):
    ways = told(toucher, "touch")
    if kernel.facts["per_vma_locks"]:
        assert 0 <= ways["own lock"] - MAPPINGS * (PAGES - 1) < SLACK
        first = ways.get("own lock, first page", 0) + ways.get("mmap_lock", 0)
        assert 0 <= first - MAPPINGS < SLACK
    else:
        assert 0 <= ways["mmap_lock"] - MAPPINGS * PAGES < SLACK and "own lock" not in ways


def test_a_page_that_has_to_be_read_is_waited_for_under_mmap_lock(toucher):
    ways = told(toucher, "read")
    assert 0 <= ways["mmap_lock, its page was waited for"] - FILE_PAGES < SLACK


def test_a_fault_that_meets_a_writer_falls_back_and_waits(tmp_path, kernel):
    with parked(tmp_path, "write", "touch") as lock:
        (run,) = opened("fault-path", "-p", str(lock.pid), engines=["all"])
        for _ in range(MEETINGS):
            with lock.held():
                lock.queue()
            for worker in lock.workers:
                worker.finish()
        run.send_signal(2)
        result = result_of(run)
    ways = ways_of(result, lock.pid)
    assert ways["mmap_lock, behind a writer"] == MEETINGS
    assert re.match(
        rf"Page faults of \S+\[{lock.pid}\] waited .*for mmap_lock", result.findings[0].sentence
    )
