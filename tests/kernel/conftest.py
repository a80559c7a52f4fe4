"""Fixtures of tests that trace the running kernel."""

import ctypes
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mmaplock_bt.command_line import default_bpftrace
from mmaplock_bt.errors import TargetError
from mmaplock_bt.machine import inventory
from mmaplock_bt.result.model import Result
from tests.kernel.processes import bpftrace_pids
from tests.kernel.results import loaded
from tests.limits import limit_s
from tests.shell import ROOT, github_actions, run_step

PR_SET_CHILD_SUBREAPER = 36
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session", autouse=True)
def subreaper() -> None:
    """Orphans of the tests' stay below this process."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


@pytest.fixture
def cli() -> Run:
    """Runs the command line in a process of its own."""

    def run(*words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mmaplock_bt", *words],
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=limit_s(120),
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
def kernel() -> Iterator[inventory.Machine]:
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
def traced(cli: Run, kernel: inventory.Machine, tmp_path: Path) -> Callable[..., Result]:
    """Runs a profile for real and returns the saved result."""

    made = itertools.count()

    def trace(*words: str, code: int = 0) -> Result:
        saved = tmp_path / f"result-{next(made)}.json"
        done = cli("run", words[0], "-o", str(saved), *words[1:])
        result = loaded(saved.read_text()) if saved.exists() else None
        assert done.returncode == code, done.stderr
        assert result is not None, done.stderr
        return result

    return trace
