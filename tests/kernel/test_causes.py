"""Causes on the running kernel: which advice, and that a process is not taken for the kernel."""

import platform
import re
import sys

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.daily]
# Ranges over two mappings: from 6.17 on an advice on one takes no mmap_lock.
ADVISED = """
import mmap, sys
SIZE = 8 << 20
memory = mmap.mmap(-1, SIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
def advise(advice, start=0, size=SIZE):
    try:
        memory.madvise(advice, start, size)
    except OSError as error:  # an older kernel; or, for a collapse, no huge page is free
        print(advice, error.strerror, file=sys.stderr)
advise(15, 0, SIZE // 2)
for advice in map(int, sys.argv[1:]):
    memory[::4096] = bytes(SIZE // 4096)
    advise(advice)
"""
CAUSES = {
    4: "madvise(MADV_DONTNEED)",
    8: "madvise(MADV_FREE)",
    15: "madvise(MADV_HUGEPAGE)",
    16: "madvise(MADV_DONTDUMP)",
    20: "madvise(MADV_COLD)",
    21: "madvise(MADV_PAGEOUT)",
    22: "madvise(MADV_POPULATE)",
    23: "madvise(MADV_POPULATE)",
}
COLLAPSE = """
import mmap, os
SIZE = 16 << 20
memory = mmap.mmap(-1, SIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(15)
memory[::4096] = bytes(SIZE // 4096)
memory.madvise(14)
for _ in range(3):
    try:
        memory.madvise(25)
    except OSError as error:
        print(error.strerror)
"""


def release() -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", platform.release())[:2]))


@pytest.mark.skipif(release() < (5, 14), reason="MADV_POPULATE_* came with 5.14")
def test_the_advice_is_told(kernel, traced):
    if not kernel.facts["user_registers"]:
        pytest.skip("where registers lie is known of x86-64 and arm64 only")
    argv = [sys.executable, "-c", ADVISED, *map(str, CAUSES)]
    result = traced("long-holds", "--set", "threshold=0", "--", *argv)
    rows = result.outputs["long_holds"].rows
    found = {row["cause"] for row in rows if row["cause"].startswith("madvise")}
    assert found == set(CAUSES.values())
    for row in rows:
        if row["cause"].startswith("madvise"):
            assert row["kernel_stack"][-1].startswith("madvise(MADV_")


@pytest.mark.skipif(release() < (6, 1), reason="MADV_COLLAPSE came with 6.1")
def test_a_process_that_collapses_is_not_khugepaged(traced):
    """golang/go#63334."""
    result = traced("long-holds", "--set", "threshold=0", "--", sys.executable, "-c", COLLAPSE)
    rows = result.outputs["long_holds"].rows
    collapsing = [row for row in rows if any("collapse" in f for f in row["kernel_stack"])]
    own = [row for row in collapsing if row["actor_kind"] == "process"]
    assert own, "the kernel collapsed nothing"
    assert {row["cause"] for row in own} == {"madvise(MADV_COLLAPSE)"}
    assert {row["mode"] for row in own} >= {"write"}
