"""Ctrl-C, whenever it comes: the run ends, keeps what it has, and its exit code says so."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from mmaplock_bt import workload
from mmaplock_bt.tracing.descendants import descendants
from tests.kernel.processes import WAITING, bpftrace_pids

pytestmark = pytest.mark.kernel
GRACE_S = 60  # an emulated machine is slow; what is not ended never ends
TOOL = [sys.executable, "-m", "mmaplock_bt"]


def begun(*words: str, **variables: str) -> "subprocess.Popen[str]":
    """A run of the tool as a foreground group, with all that it says in one pipe."""
    return subprocess.Popen(
        [*TOOL, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, env=os.environ | variables, start_new_session=True,
    )  # fmt: skip


def heard(run: "subprocess.Popen[str]", start: str) -> None:
    """Waits for a line that begins so."""
    assert run.stdout is not None
    for line in run.stdout:
        if line.startswith(start):
            return
    raise AssertionError(f"ended before it said {start}")


def compiling(run: "subprocess.Popen[str]") -> None:
    """Waits until a bpftrace is there."""
    until(run, lambda: bool(bpftrace_pids()))


def working(run: "subprocess.Popen[str]") -> None:
    """Waits until a traced workload runs, not only the shell that holds it."""
    until(run, lambda: any(is_workload(pid) for pid in descendants(run.pid)))


def is_workload(pid: int) -> bool:
    with suppress(OSError):
        program, *words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return b"python" in program and any(b"workload.py" in word for word in words)
    return False


def until(run: "subprocess.Popen[str]", is_so: Callable[[], bool]) -> None:
    while not is_so():
        assert run.poll() is None
        time.sleep(0.002)  # the machine is needed by what is waited for


Phase = Callable[["subprocess.Popen[str]"], None]
PHASES: dict[str, list[Phase]] = {
    "compiling": [compiling],
    "working": [working],
    "closing": [lambda run: heard(run, '{"')],  # the workload's last word
    "between": [lambda run: heard(run, "pass")],
    "the next one": [lambda run: heard(run, "pass"), compiling],
    "the next one's work": [lambda run: heard(run, "pass"), working],
}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("whole_group", [False, True], ids=["process", "group"])
def test_one_ends_the_self_test(kernel, phase, whole_group):
    run = begun("selftest")
    for wait in PHASES[phase]:
        wait(run)
    (os.killpg if whole_group else os.kill)(run.pid, signal.SIGINT)
    told, _ = run.communicate(timeout=GRACE_S)
    assert run.returncode == 130, told
    assert told.count("interrupted") == 1 and "Traceback" not in told


def test_one_ends_the_trials_of_a_bpftrace_that_hangs(fake, tmp_path):
    began = tmp_path / "began"
    os.mkfifo(began)
    path = fake(f"[ $1 = --version ] && exec echo 'bpftrace v0.17.0'\necho $$ > {began}; sleep 600")
    run = begun("run", "-d", "1s", "--bpftrace", path, XDG_CACHE_HOME=str(tmp_path / "cache"))
    pidfd = os.pidfd_open(int(began.read_text().split()[0]))
    run.send_signal(signal.SIGINT)
    told, _ = run.communicate(timeout=20)  # a trial alone would take 30
    assert run.returncode == 130 and "Traceback" not in told
    assert select.select([pidfd], [], [], 20)[0], "the trial outlived the tool"
    os.close(pidfd)


@pytest.mark.parametrize(("gates", "code"), [((), 0), (("--gate", "hold.count > 0"), 5)])
def test_on_ones_own_command_gives_the_result(kernel, gates, code):
    """It ends the command, too: that has not failed by itself."""
    run = begun("run", "hold-times", "--format", "json", *gates, "--", *WAITING)
    heard(run, "go")
    os.killpg(run.pid, signal.SIGINT)
    told, _ = run.communicate(timeout=GRACE_S)
    assert run.returncode == code, told
    window = json.loads(told[told.index("{\n") : told.rindex("}") + 1])["window"]
    assert window["ended_by"] == "interrupt" and window["command"]["status"] != 0


def test_a_series_says_what_was_made(kernel, tmp_path):
    folder = tmp_path / "runs"
    run = begun("run", "hold-times", "--repeat", "9", "-o", f"{folder}/", "--",
                *workload.command("munmaps", 23))  # fmt: skip
    heard(run, "run 2 of 9")
    run.send_signal(signal.SIGINT)
    told, _ = run.communicate(timeout=GRACE_S)
    made = len(list(folder.glob("*.json")))
    assert run.returncode == 130 and 2 <= made < 9
    assert f"interrupted: {made} runs are kept in {folder}" in told and "9 were asked for" in told
