"""Prometheus' tools, or a test that is skipped and says what is missing."""

import shutil
import subprocess
from pathlib import Path

import pytest

from mmaplock_bt import resources
from tests.kernel.conftest import kernel  # noqa: F401

FLEET = resources.cache() / "fleet/usr/bin"


def tool(name: str) -> str:
    """Returns the path of a program, or skips the test."""
    path = shutil.which(name, path=f"{FLEET}:/usr/sbin:/usr/bin:/sbin:/bin")
    if path is None:
        pytest.skip(f"{name} is not installed: make fleet-tools")
    return path


@pytest.fixture
def promtool(tmp_path: Path):
    """Runs promtool with these words and this standard input; returns all that it says."""
    path = tool("promtool")

    def run(*words: str, text: str = "") -> str:
        done = subprocess.run([path, *words], input=text, capture_output=True, text=True,
                              check=False, timeout=60, cwd=tmp_path)  # fmt: skip
        return f"{done.stdout}{done.stderr}" if done.returncode else done.stderr

    return run
