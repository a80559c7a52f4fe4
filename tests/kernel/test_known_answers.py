"""Workloads whose events are known, traced on the running kernel."""

import platform
import re
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from mmaplock_bt import workload
from mmaplock_bt.commands.selftest import forked
from mmaplock_bt.machine import features
from tests.kernel.processes import begun
from tests.kernel.results import loaded
from tests.limits import limit_s

pytestmark = [pytest.mark.kernel, pytest.mark.daily]


def test_23_forks_are_23_parent_and_23_child_holds(traced):
    result = traced("long-holds", "--set", "threshold=0", "--", *workload.command("forks", 23, 512))
    rows = result.outputs["long_holds"].rows
    assert forked(result, "process") == 23
    assert forked(result, "fork_child") == 23
    parents = {
        row["owner_pid"]
        for row in rows
        if row["owner_kind"] in ("process", "fork_child")
        and any("dup_mmap" in frame for frame in row["kernel_stack"])
    }
    assert len(parents) == 1, "the newborn child still carries its parent's tgid"
    torn_down = {row["owner_pid"] for row in rows if row["owner_kind"] == "teardown"}
    assert None not in torn_down and len(torn_down - parents) >= 23
    assert result.books.residue == 0
    # Events and histogram travel on different ways.
    in_histogram = sum(row["count"] for row in result.outputs["hold"].rows)
    assert len(rows) == in_histogram


def test_every_munmap_downgrades_and_ends_its_write_hold_there(traced):
    result = traced("long-holds", "--set", "threshold=0", "--", *workload.command("munmaps", 1009))
    assert result.books.downgrades >= 1009
    assert result.books.residue == 0
    at_downgrade = [
        row
        for row in result.outputs["long_holds"].rows
        if row["mode"] == "write"
        and any("munmap" in frame for frame in row["kernel_stack"])
        and any("mmap_write_downgrade" in f or "munmap" in f for f in row["kernel_stack"][:1])
    ]
    reads = [
        row
        for row in result.outputs["long_holds"].rows
        if row["mode"] == "read" and any("__vm_munmap" in f for f in row["kernel_stack"])
    ]
    assert len(reads) >= 1009, "after its downgrade a munmap goes on as a reader"
    assert len(at_downgrade) >= 1009


def test_the_smaps_reader_is_named_behind_the_waiting_writer(traced):
    result = traced(
        "writer-starvation",
        *("--set", "threshold=1ms", "--set", "behind=100us"),
        *("--", *workload.command("smaps", 7, 1024)),
    )
    rows = result.outputs["starved_writers"].rows
    assert rows
    worst = rows[0]
    assert worst["wait_ns"] == max(row["wait_ns"] for row in rows)
    assert worst["behind"][0]["pid"] != worst["owner_pid"], "the actor is the reader"
    assert any("seq_read" in frame for frame in worst["behind"][0]["kernel_stack"])
    assert worst["owner_pid"] == worst["pid"], "the owner is the process that maps"
    assert {row["label"] for row in rows} & {"one long hold", "starved by overtaking readers"}
    assert result.books.residue == 0


def test_counts_and_hold_time_agree_with_perf(traced, tmp_path):
    """Counts each time. What is taken from the machine between two readings of the clock is in one
    sum only: one of three runs must be undisturbed."""
    seen = []
    for run in range(3):
        found, held_ns = _beside_perf(traced, tmp_path / f"{run}.data")
        seen.append([(mode, held_ns[mode], found[mode]) for mode in found])
        if all(found[mode] == pytest.approx(held_ns[mode], rel=0.05) for mode in found):
            return
    pytest.fail(f"ns held by perf and by us: {seen}")


def _beside_perf(traced, data) -> tuple[dict[str, int], dict[str, int]]:
    """Returns the hold time by mode that we found, and perf's."""
    # -a: a task's own perf events are closed in do_exit before exit_mm takes its last lock.
    perf = ["perf", "record", "-a", "-q", "-m", "1024", "-e", "mmap_lock:*", "-o", str(data), "--"]
    argv = [*perf, *workload.command("known", 1009, 23, 128)]
    result = traced("hold-times", "--comm", "known-thread", "--", *argv)
    acquired, released, held_ns = perf_books(data)
    rows = {row["key"]["mode"]: row for row in result.outputs["hold"].rows}
    assert {mode: row["count"] for mode, row in rows.items()} == acquired
    assert result.books.releases == sum(released.values())
    assert result.books.downgrades == acquired["write"] - released["write"] >= 1009
    assert result.books.residue == 0
    return {mode: row["sum"] for mode, row in rows.items()}, held_ns


def perf_books(data) -> tuple[Counter, Counter, dict[str, int]]:
    """Successful acquisitions, releases and hold time per mode of the thread known-thread."""
    done = subprocess.run(
        ["perf", "script", "--ns", "-i", str(data), "-F", "comm,tid,time,event,trace"],
        capture_output=True,
        text=True,
        check=True,
    )
    line = re.compile(
        r"(?P<comm>\S+)\s+(?P<tid>\d+)\s+(?P<s>\d+)\.(?P<ns>\d{9}):"
        r"\s+mmap_lock:mmap_lock_(?P<event>\w+):"
        r" mm=(?P<mm>\w+).*write=(?P<write>\w+)(?P<rest>.*)"
    )
    acquired, released, held = Counter(), Counter(), defaultdict(int)
    began: dict[tuple[str, str], tuple[int, str]] = {}
    names = {"known-thread"}
    for match in map(line.search, done.stdout.splitlines()):
        if match is None or match["comm"] not in names:
            continue
        names.add(f":{match['tid']}")  # so perf 6.12 calls a thread that is exiting
        if "success=false" in match["rest"] or match["event"] == "start_locking":
            continue
        now = int(match["s"]) * 10**9 + int(match["ns"])
        mode = "write" if match["write"] == "true" else "read"
        lock = match["tid"], match["mm"]
        if lock in began:  # a release, or the end of the exclusive part at a downgrade
            start, held_mode = began.pop(lock)
            held[held_mode] += now - start
        if match["event"] == "acquire_returned":
            acquired[mode] += 1
            began[lock] = now, mode
        else:
            released[mode] += 1
    return acquired, released, held


def test_failed_trylocks_are_no_waits(traced):
    result = traced("wait-times", "--", *workload.command("munmaps", 1009))
    waits = sum(row["count"] for row in result.outputs["wait"].rows)
    assert waits == result.books.acquires and result.books.downgrades is None
    assert result.books.starts == waits + result.books.failed


def test_a_hostile_name_is_intact_in_json_and_harmless_on_the_terminal(cli, kernel):
    words = ("run", "long-holds", "--set", "threshold=0", "--format")
    done = cli(*words, "json", "--", *workload.command("hostile", 23))
    names = {row["comm"] for row in loaded(done.stdout).outputs["long_holds"].rows}
    assert workload.HOSTILE_NAME.decode() in names
    shown = cli(*words, "table", "--", *workload.command("hostile", 23)).stdout
    assert "\x1b" not in shown
    # What is pasted is in one line, however long.
    lines = [line for line in shown.splitlines() if not line.startswith("   next:  ")]
    assert max(map(len, lines)) < 100


def test_a_filter_on_the_mode_keeps_the_other_out(traced):
    """Each of the munmaps goes on as a reader."""
    result = traced("hold-times", "--mode", "write", "--", *workload.command("munmaps", 101))
    assert {row["key"]["mode"] for row in result.outputs["hold"].rows} == {"write"}
    assert result.books.residue == 0


HUGE_PAGES = Path("/proc/sys/vm/nr_hugepages")
FREED = Path("/proc/sys/vm/hugetlb_optimize_vmemmap")  # CONFIG_HUGETLB_PAGE_OPTIMIZE_VMEMMAP


@pytest.fixture
def huge_pages_remap():
    """Huge pages are made without most of their struct pages, and unmade at the end."""
    if not FREED.exists() or int(HUGE_PAGES.read_text()):
        pytest.skip("no huge pages can be had that remap the kernel's own address space")
    before = FREED.read_text()
    FREED.write_text("1")
    yield
    HUGE_PAGES.write_text("0")
    FREED.write_text(before)


@pytest.mark.usefixtures("kernel", "huge_pages_remap")
def test_the_kernels_own_address_space_is_told():
    """The struct pages of each are unmapped under init_mm's lock (mm/hugetlb_vmemmap.c)."""
    run = begun("long-holds", "--set", "threshold=0", "--format", "json")
    HUGE_PAGES.write_text("7")
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 0, err
    result = loaded(out)
    rows = [row for row in result.events("long_holds") if row["owner_kind"] == "kernel"]
    remaps = [row for row in rows if any("vmemmap_remap" in f for f in row["kernel_stack"])]
    assert len(remaps) >= 7 and len({row["mm"] for row in remaps}) == 1
    assert {row["owner_pid"] for row in rows} == {None}


MAPPER = """
import sys
from mmaplock_bt import workload
workload.munmaps(1)
print("up", flush=True)
while sys.stdin.read(1):
    workload.munmaps(101)
    print("done", flush=True)
"""


def test_a_filter_on_the_owner_keeps_other_address_spaces_out(kernel):
    """Two processes unmap in the same window; without the filter both are there."""
    with mapper() as mine, mapper() as other:
        result = both_mapped(mine, other, "-p", str(mine.pid))
        assert owners(result) == {mine.pid}
        assert result.books.downgrades == 101 and result.books.residue == 0
        everybody = both_mapped(mine, other)
        assert {mine.pid, other.pid} <= owners(everybody)
        assert everybody.books.downgrades >= 202


def mapper():
    """A process that unmaps 101 times for each byte it is given, and says when it is done."""
    argv = [sys.executable, "-c", MAPPER]
    found = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert found.stdout.readline() == "up\n"
    return found


def both_mapped(mine, other, *words):
    """The result of a window in which both did what they do, from the first to the last."""
    run = begun("hold-times", "--format", "json", *words)
    for process in (mine, other):
        process.stdin.write("x")
        process.stdin.flush()
    assert [process.stdout.readline() for process in (mine, other)] == ["done\n"] * 2
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 0, err
    return loaded(out)


def owners(result):
    return {row["key"]["owner_pid"] for row in result.outputs["owners"].rows}


def test_others_that_fork_and_end_change_no_count(traced):
    """Their mm and task are the traced children's next, and were not meant."""
    forking = "import os\nwhile True:\n  p = os.fork()\n  p or os._exit(0)\n  os.waitpid(p, 0)"
    others = [subprocess.Popen([sys.executable, "-c", forking]) for _ in range(2)]
    try:
        command = workload.command("forks", 211, 1)
        result = traced("long-holds", "--set", "threshold=0", "--", *command)
    finally:
        for one in others:
            one.kill()
            one.wait()
    assert forked(result, "process") == forked(result, "fork_child") == 211


FORKS = """
from mmaplock_bt import workload
workload.forks(23, 64)
open("/proc/self/comm", "w").write("has-forked")
workload.munmaps(1)
input()
"""


def heard_to_the_end(code):
    """Traces a Python program, which is there until all that it did has been heard."""
    command = [sys.executable, "-c", code]
    words = ["--set", "threshold=0", "--format", "json", "--save-raw", "/dev/stderr"]
    with subprocess.Popen(
        [sys.executable, "-m", "mmaplock_bt", "run", "long-holds", *words, "--", *command],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as run:  # fmt: skip
        held = (line for line in run.stderr if "long_holds|" in line)
        assert any("has-forked" in _unescaped(line) for line in held)
        out, err = run.communicate("\n", timeout=limit_s(60))
    assert run.returncode == 0, err
    return loaded(out)


def _unescaped(line):
    return re.sub(r"\\+x([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), line)


def test_user_frames_are_named(kernel):
    """bpftrace 0.17 and 0.23 that name them lose probes and maps (iovisor/bcc#5193); we do not."""
    if not features.kernel_functions()["lockless_maps"]:
        pytest.skip("before 6.17 reading /proc/PID/maps takes the lock: addresses are shown")
    result = heard_to_the_end(FORKS)
    forks = [row for row in result.outputs["long_holds"].rows if row["owner_kind"] == "fork_child"]
    assert len(forks) == 23
    assert all("ork+" in row["user_stack"][0] for row in forks), forks[0]["user_stack"]
    assert all("(libc.so" in row["user_stack"][0] for row in forks)


COMPILED = """
import ctypes, mmap, os
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
# push rbp; mov rbp, rsp; mov eax, SYS_munmap; syscall; pop rbp; ret
code.write(bytes.fromhex("55 4889e5 b80b000000 0f05 5d c3"))
begin = ctypes.addressof(ctypes.c_char.from_buffer(code))
with open(f"/tmp/perf-{os.getpid()}.map", "w") as names:
    print(f"{begin:x} {13:x} js:unmap", file=names)
unmap = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_void_p, ctypes.c_size_t)(begin)
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
for _ in range(23):
    unmap(libc.mmap(None, ctypes.c_size_t(4096), 3, 34, -1, ctypes.c_long(0)), 4096)
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the code is x86-64's")
def test_compiled_code_is_named_by_its_perf_map(traced):
    if not features.kernel_functions()["lockless_maps"]:
        pytest.skip("before 6.17 reading /proc/PID/maps takes the lock: addresses are shown")
    result = traced("long-holds", "--set", "threshold=0", "--", sys.executable, "-c", COMPILED)
    rows = result.outputs["long_holds"].rows
    named = [r for r in rows if r["user_stack"] and r["user_stack"][0].startswith("js:unmap+")]
    Path(f"/tmp/perf-{rows[0]['pid']}.map").unlink()
    # A hold for write until the downgrade, one for read until the end.
    assert len(named) in (23, 46), {tuple(r["user_stack"][:1]) for r in rows}
    assert {row["cause"] for row in named} == {"munmap"}
    assert all(row["user_stack"][0].endswith(" (perf map)") for row in named)
