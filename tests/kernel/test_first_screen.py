"""The first command on workloads whose culprit is known: the first screen names it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mmaplock_bt import workload
from tests.kernel.results import loaded

pytestmark = [pytest.mark.kernel, pytest.mark.daily]
CATS = 37
# A process with much touched memory whose thread maps and unmaps; what reads it is a child.
VICTIM = """
import ctypes, mmap, subprocess, sys, threading
from mmaplock_bt import workload
workload.touched(256 << 20)
done = threading.Event()
def work():
    while not done.is_set():
        with mmap.mmap(-1, mmap.PAGESIZE):
            pass
worker = threading.Thread(target=work)
worker.start()
try:
    {reads}
finally:
    done.set()
    worker.join()
"""
BY_CATS = """
    for _ in range(%d):
        subprocess.run(["cat", f"/proc/{__import__('os').getpid()}/smaps_rollup"],
                       stdout=subprocess.DEVNULL, check=True)
"""
BY_ITSELF = """
    for _ in range(%d):
        open("/proc/self/smaps_rollup").read()
"""


def run(cli, tmp_path, *words):
    """The first screen, and the result."""
    saved = tmp_path / f"result-{len(list(tmp_path.iterdir()))}.json"
    done = cli("run", "-o", str(saved), *words)
    assert done.returncode == 0, done.stderr
    return done.stdout, loaded(saved.read_text())


def victim(reads):
    return [sys.executable, "-c", VICTIM.replace("{reads}", reads.strip() % CATS)]


def test_many_runs_of_one_program_are_one_culprit(cli, kernel, tmp_path):
    """Each waits for the lock of a process that it is no thread of."""
    text, result = run(cli, tmp_path, "--", *victim(BY_CATS))
    first = result.findings[0]
    assert (first.harm, first.cause) == ("waited", "smaps/maps/numa_maps")
    (number,) = re.findall(r"^(\d+) processes named cat$", first.culprit)
    assert CATS / 2 < int(number) <= CATS
    assert f"for {number} processes named cat, which" in " ".join(text.split())
    waits = sum(row["sum"] for row in result.outputs["contended"].rows)
    assert first.total_ns <= waits
    assert first.total_ns > waits / 2
    assert text.index("helps: ") < text.index("next:  ") and "run blame -- " in text
    assert len(text.splitlines()) <= 24


def test_a_process_that_reads_its_own_smaps_is_found(cli, kernel, tmp_path):
    text, result = run(cli, tmp_path, "--", *victim(BY_ITSELF))
    first = result.findings[0]
    assert first.cause == "smaps/maps/numa_maps" and first.victim == first.culprit
    assert "for its own threads, which were" in " ".join(text.split())


def test_where_nobody_waits_that_is_one_line(cli, kernel, tmp_path):
    """The same many locks, by one thread; whatever else runs here is left out."""
    text, result = run(cli, tmp_path, "--", *workload.command("munmaps", 1009))
    (only,) = result.findings
    assert only.harm == "calm" and only.sure == "exact"
    assert "it is not the trouble" in text


def test_waits_below_the_threshold_are_counted_and_summed(cli, kernel, tmp_path):
    """All of them are, where the threshold is out of reach."""
    options = ("--set", "threshold=100s")
    text, result = run(cli, tmp_path, *options, "--", *victim(BY_CATS))
    short = result.outputs["short"].rows
    waits = result.outputs["wait"].rows
    assert result.events("waits") == []
    for row in waits:
        (same,) = [one for one in short if one["key"]["mode"] == row["key"]["mode"]]
        assert (same["count"], same["sum"]) == (row["count"], row["sum"])
    assert "too short to be charged one by one" in " ".join(text.split())


def test_the_next_command_works_as_it_stands(cli, kernel, tmp_path):
    """Pasted into a shell, from another folder."""
    text, _ = run(cli, tmp_path, "--", *victim(BY_CATS))
    (line,) = [line for line in text.splitlines() if "next: " in line and "run blame" in line][:1]
    command = line.partition("next: ")[2].strip()
    done = subprocess.run(
        ["bash", "-c", command],
        capture_output=True, text=True, timeout=120, cwd="/", check=False,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("blame ")


def test_blame_has_the_culprits_user_frames(cli, kernel, tmp_path):
    """Those of its worst hold: the call by which it reads, in libc."""
    _, result = run(cli, tmp_path, "blame", "--", *victim(BY_ITSELF))
    worst = result.outputs["blame"].rows[0]
    assert worst["key"]["cause"] == "smaps/maps/numa_maps"
    frames = worst["user_stack"]
    assert any("libc.so.6" in frame for frame in frames), (frames, result.messages)
