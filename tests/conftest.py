import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mmaplock_bt import target
from mmaplock_bt.cli import default_bpftrace
from mmaplock_bt.errors import TargetError
from mmaplock_bt.result import Result, from_json

Run = Callable[..., subprocess.CompletedProcess[str]]


# In the environment of all that these tests start, orphans included.
MARK = "MMAPLOCK_BT_TESTS"
os.environ[MARK] = str(os.getpid())


def bpftrace_pids() -> set[str]:
    """The bpftrace processes that these tests started, not those of another run beside them."""
    return {stat.parent.name for stat in Path("/proc").glob("[0-9]*/stat") if _is_ours(stat)}


def _is_ours(stat: Path) -> bool:
    try:
        text = stat.read_text(errors="replace")
        if "(bpftrace) " not in text or "(bpftrace) Z" in text:
            return False
        environment = (stat.parent / "environ").read_bytes().split(b"\0")
        return f"{MARK}={os.getpid()}".encode() in environment
    except OSError:
        return False


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


@pytest.fixture
def kernel() -> Iterator[target.Target]:
    """This machine, if it can trace; afterwards no bpftrace of ours is left."""
    try:
        machine = target.probe(default_bpftrace())
    except TargetError as error:
        pytest.skip(str(error))
    before = bpftrace_pids()
    yield machine
    left = bpftrace_pids() - before
    for pid in left:
        os.kill(int(pid), signal.SIGKILL)
    assert not left, "a bpftrace was left behind"


@pytest.fixture
def traced(cli: Run, kernel: target.Target, tmp_path: Path) -> Callable[..., Result]:
    """Runs a profile for real and returns the saved result."""

    def trace(*words: str, code: int = 0) -> Result:
        saved = tmp_path / "result.json"
        done = cli("run", words[0], "-o", str(saved), *words[1:])
        assert done.returncode == code, done.stderr
        return from_json(saved.read_text())

    return trace
