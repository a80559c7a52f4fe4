"""make in a checkout of a user's: wherever it lies, and what it leaves there."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.shell import ROOT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="no make")
TOLD = 'printf "%s\\n" "$PYTHONDONTWRITEBYTECODE" "$@" > told'


@pytest.fixture
def checkout(tmp_path):
    """A checkout whose path holds a blank, with programs that only tell how they were called."""
    folder = tmp_path / "my checkout"
    for place in (".venv/bin", "programs", "tests/__pycache__", ".pytest_cache"):
        (folder / place).mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", folder)
    (folder / "pyproject.toml").touch()
    for name in (".venv/bin/python", ".venv/.installed", ".venv/.dev"):
        (folder / name).touch()
    _program(folder / ".venv/bin/mmaplock-bt", TOLD)
    _program(folder / ".venv/bin/python", TOLD)
    _program(folder / "programs/bpftrace", "")
    _program(folder / "programs/sudo", '[ "$1" = test ] || exec "$@"')
    return folder


def _program(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def make(checkout: Path, *words: str) -> None:
    path = f"{checkout / 'programs'}:{os.environ['PATH']}"
    # Its own user; $MAKEFLAGS is of the make that may run these tests.
    own = {n: v for n, v in os.environ.items() if n not in ("SUDO_USER", "MAKEFLAGS", "MAKELEVEL")}
    done = subprocess.run(
        ["make", "SUDO=sudo", *words], cwd=checkout, env=own | {"PATH": path}, check=False,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_demo_runs_in_any_folder_and_leaves_no_bytecode_of_root(checkout):
    make(checkout, "demo")
    workload = "-m mmaplock_bt.workload smaps 7 1024"
    wanted = ["1", "run", "--", ".venv/bin/python", *workload.split()]
    assert (checkout / "told").read_text().split("\n")[:-1] == wanted


@pytest.mark.parametrize(("target", "chosen"), [("test", "daily"), ("test-thorough", "not daily")])
def test_the_tests_as_root_leave_no_cache(checkout, target, chosen):
    make(checkout, "-o", "lint", target)
    words = (checkout / "told").read_text().split("\n")[:-1]  # of the last one
    assert words[:5] == ["1", "-m", "pytest", "-p", "no:cacheprovider"]
    assert words[-3:] == ["-m", chosen, "tests/kernel"]


def test_clean_leaves_nothing_that_was_made(checkout):
    make(checkout, "clean")
    assert {path.name for path in checkout.rglob("*")} == {
        "Makefile", "pyproject.toml", "programs", "bpftrace", "sudo", "tests"
    }  # fmt: skip
