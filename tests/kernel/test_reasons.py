"""Why a wait was long where no hold explains it, and what lies below the threshold."""

import sys
from collections import Counter

import pytest

from mmaplock_bt import workload
from tests.kernel.parked import parked
from tests.kernel.test_contended import MS, ended, opened

pytestmark = pytest.mark.kernel

# Instances of a WebAssembly engine: each reserves 4 GiB, opens 1 MiB of it, touches it, drops all.
INSTANCES = """
import ctypes, json, os, sys, threading
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
def worker():
    for _ in range(int(sys.argv[2])):
        place = libc.mmap(None, 4 << 30, 0, 0x4022, -1, 0)
        libc.mprotect(place, 1 << 20, 3)
        libc.memset(place, 1, 1 << 20)
        libc.munmap(place, 4 << 30)
threads = [threading.Thread(target=worker) for _ in range(int(sys.argv[1]))]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def instances(threads, turns):
    return sys.executable, "-I", "-S", "-c", INSTANCES, str(threads), str(turns)


def totals(result):
    return {row["key"]["charged"]: row["sum"] for row in result.outputs["totals"].rows}


def of_modes(result, name, figure="count"):
    found = Counter()
    for row in result.outputs[name].rows:
        found[row["key"]["mode"]] += row[figure]
    return found


def test_waits_for_a_cpu_are_told_from_waits_for_the_lock(traced):
    """Four threads on one CPU: whoever is handed the lock has yet to get it."""
    argv = "taskset", "-c", "0", *instances(4, 997)
    result = traced("blame", "--locks", "contended", "--set", "threshold=100us", "--", *argv)
    if not result.target.facts["run_delay"]:
        pytest.skip("the kernel does not tell for how long a thread waited for a CPU")
    found = totals(result)
    assert sum(found.values()) == sum(of_modes(result, "waited", "sum").values()) > 0
    assert found["waited for a CPU"] > 0
    assert found.get("unexplained", 0) <= 0.1 * sum(found.values())
    holders = [row for row in result.outputs["blame"].rows if row["key"]["pid"]]
    assert sum(row["preempted_ns"] or 0 for row in holders) > 0
    assert all((row["preempted_ns"] or 0) <= row["sum"] for row in holders)


@pytest.mark.parametrize("name", ["blame", "convoys"])
def test_what_lies_below_the_threshold_is_counted(name, traced):
    argv = instances(4, 499)
    result = traced(name, "--locks", "contended", "--set", "threshold=100s", "--", *argv)
    below = of_modes(result, "short_waits")
    assert not result.outputs["waits"].rows
    assert below.total() == result.books.acquires > 0
    assert of_modes(result, "short_waits", "max")["write"] > 0


def test_both_engines_count_the_same_waits_below_the_threshold(tmp_path):
    with parked(tmp_path, "write", "read", "read") as park:
        runs = opened("blame", "-p", str(park.pid), "--set", "threshold=100s")
        for _ in range(7):
            with park.held():
                park.queue()
                park.pause(5 * MS)
            for worker in park.workers:
                worker.finish()
        results = ended(runs)
    for result in results:
        below = of_modes(result, "short_waits")
        # Beside these only threads that met each other for a moment.
        assert 7 <= below["write"] <= 9 and 14 <= below["read"] <= 18, below
        assert of_modes(result, "short_waits", "max")["write"] >= 5 * MS


def test_a_thread_that_is_alone_meets_nobody(traced):
    """However long the tracing of others makes it: nothing is guessed from a wait's length."""
    words = "blame", "--locks", "all", "--set", "threshold=100s"
    result = traced(*words, "--", *workload.command("mincores", 9973))
    assert result.books.starts >= 9973 and not result.outputs["short_waits"].rows


def test_what_a_holder_sleeps_for_is_told_though_it_has_let_go(tmp_path):
    """Its stack at release shows the end of a read; while it lasted the page was waited for."""
    with parked(tmp_path, "write") as park:
        words = "-p", str(park.pid), "--set", "poll=20ms"
        some, every = opened("blame", *words)
        with park.held():
            park.queue()
            park.pause(400 * MS)
        park.workers[0].finish()
        results = ended([some, every])
    for result in results:
        (row,) = [row for row in result.outputs["blame"].rows if row["sum"] >= 400 * MS]
        assert row["reason"] == "I/O" and row["key"]["cause"] == "cmdline/environ/mem"
        assert "fuse" in str(row["current_stack"]) and "mem_rw" in str(row["current_stack"])
        assert row["key"]["kernel_stack"] and "fuse" not in str(row["key"]["kernel_stack"])
        assert not result.outputs["still_open"].rows
    asleep = max(row["asleep_ns"] or 0 for row in results[0].outputs["blame"].rows)
    assert asleep >= 0.9 * 400 * MS
    # Where every lock is followed it is not measured, which is not 'never'.
    assert {row["asleep_ns"] for row in results[1].outputs["blame"].rows} == {None}
