import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mmaplock_bt import renderers
from mmaplock_bt.cli import default_bpftrace
from mmaplock_bt.errors import TargetError
from mmaplock_bt.judging.series import Series
from mmaplock_bt.machine import inventory
from mmaplock_bt.result.model import Result, from_json
from mmaplock_bt.tracing.descendants import descendants
from tests.shell import ROOT, github_actions, run_step

pytest_plugins = ["pytester"]
Run = Callable[..., subprocess.CompletedProcess[str]]


PR_SET_CHILD_SUBREAPER = 36
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)  # orphans of the tests' stay below this process


def bpftrace_pids() -> set[str]:
    """bpftrace processes below this one, by /proc/PID/stat (which takes no lock)."""
    found = set()
    for pid in descendants(os.getpid()):
        with suppress(OSError):
            text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
            if "(bpftrace" in text and ") Z" not in text:
                found.add(str(pid))
    return found


def shown_as_table(result: Result) -> str:
    return renderers.named("table")(Series((result,)))


def begun(*words: str) -> subprocess.Popen[str]:
    """A run whose window is open, as the tool itself says."""
    ready, told = os.pipe()
    run = subprocess.Popen(
        [sys.executable, "-m", "mmaplock_bt", "run", *words, "--ready-fd", str(told)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=[told],
    )
    os.close(told)
    with os.fdopen(ready) as window:
        assert window.read() == "ready\n", run.communicate(timeout=60)[1]
    return run


@pytest.fixture
def cli() -> Run:
    """Runs the command line in a process of its own."""

    def run(*words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mmaplock_bt", *words],
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=120,
            env=os.environ | (env or {}),
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the GitHub example has installed the tool, as `tool`."""
    folder = tmp_path_factory.mktemp("runner")
    _, steps = github_actions()
    variables = {"RUNNER_TEMP": str(folder), "MMAPLOCK_BT": f"{ROOT}[compare]"}
    done = run_step(steps["Install"]["run"], folder, variables)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def kernel() -> Iterator[inventory.Target]:
    """This machine, if it can trace; afterwards no bpftrace of ours is left."""
    try:
        machine = inventory.probe(default_bpftrace())
    except TargetError as error:
        pytest.skip(str(error))
    before = bpftrace_pids()
    yield machine
    left = bpftrace_pids() - before
    for pid in left:
        os.kill(int(pid), signal.SIGKILL)
    assert not left, "a bpftrace was left behind"


@pytest.fixture
def traced(cli: Run, kernel: inventory.Target, tmp_path: Path) -> Callable[..., Result]:
    """Runs a profile for real and returns the saved result."""

    def trace(*words: str, code: int = 0) -> Result:
        saved = tmp_path / "result.json"
        done = cli("run", words[0], "-o", str(saved), *words[1:])
        assert done.returncode == code, done.stderr
        return from_json(saved.read_text())

    return trace
