"""Kills at random moments, and runs beside each other. The long one is `make chaos`."""

import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from mmaplock_bt import workload
from tests.kernel.processes import begun
from tests.kernel.results import loaded
from tests.shell import ROOT

pytestmark = pytest.mark.kernel
ROUNDS = 8


def test_nothing_is_left_of_runs_that_are_killed_at_random_moments(kernel):
    """Seeds are printed; `tools/chaos.py --seed N --rounds 1` does one again."""
    done = subprocess.run(
        [sys.executable, "tools/chaos.py", "--rounds", str(ROUNDS)],
        cwd=ROOT, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{ROUNDS} of {ROUNDS} rounds played, 0 with something left" in done.stdout


MAPPER = """
import sys
from mmaplock_bt import workload
workload.munmaps(1)
print("up", flush=True)
sys.stdin.read(1)
workload.munmaps(int(sys.argv[1]))
print("done", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("munmaps", [(1009, 499), (1009, 499, 251, 101)], ids=["two", "four"])
def test_runs_beside_each_other_count_each_their_own(kernel, munmaps):
    """Every window is open before anybody begins, and until all are done."""
    mappers = [mapper(count) for count in munmaps]
    runs = [begun("hold-times", "--format", "json", "-p", str(one.pid)) for one in mappers]
    for one in mappers:
        one.stdin.write("x")
        one.stdin.flush()
    assert [one.stdout.readline() for one in mappers] == ["done\n"] * len(munmaps)
    for run in runs:
        run.send_signal(signal.SIGINT)
    for run, one, count in zip(runs, mappers, munmaps, strict=True):
        out, err = run.communicate(timeout=60)
        assert run.returncode == 0, err
        result = loaded(out)
        assert result.loss.complete and result.books.residue == 0
        assert result.books.downgrades == count
        assert {row["key"]["owner_pid"] for row in result.outputs["owners"].rows} == {one.pid}
    for one in mappers:
        one.communicate()


def mapper(count: int) -> "subprocess.Popen[str]":
    """A process that unmaps `count` times once it is told to, and says when it is done."""
    argv = [sys.executable, "-c", MAPPER, str(count)]
    found = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert found.stdout.readline() == "up\n"
    return found


def words(pid: str) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def test_a_capture_ends_with_a_trap_that_is_killed(kernel, tmp_path):
    armed = ["--trap", "hold > 1ms", "--locks", "all", "--capture", "600s"]
    run = subprocess.Popen(
        [sys.executable, "-m", "mmaplock_bt", "run", "hold-times", *armed, "--trap-dir",
         str(tmp_path)], stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    load = subprocess.Popen(
        ["sh", "-c", f"while :; do {' '.join(workload.command('populate', 256))}; done"],
        stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        while "capturing into" not in (said := run.stderr.readline()):
            assert said, "the trap has ended"
        children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
        assert sum(b"result.json" in words(pid) for pid in children) == 1
        ends = {os.pidfd_open(int(pid)): words(pid) for pid in children}
        run.kill()
        for end, what in ends.items():
            assert select.select([end], [], [], 60)[0], f"{what} has outlived the trap"
    finally:
        os.killpg(load.pid, signal.SIGKILL)
        load.wait()
        run.kill()
        run.communicate()
