"""Prometheus, its tools and others, or a test that is skipped and says what is missing."""

import socket
import subprocess
import threading
from pathlib import Path

import pytest

from tests.kernel.conftest import kernel  # noqa: F401
from tools import fleet


def tool(name: str) -> str:
    """Returns the path of a program, or skips the test."""
    path = fleet.program(name)
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


@pytest.fixture
def server(tmp_path: Path):
    """Starts a program by words with ADDRESS in them; returns that of the free port it is given."""
    started = []

    def start(name: str, *words: str) -> str:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            where = f"127.0.0.1:{free.getsockname()[1]}"
        log = (tmp_path / f"{name}.log").open("w")
        called = [tool(name), *(word.replace("ADDRESS", where) for word in words)]
        started.append(subprocess.Popen(called, stdout=log, stderr=subprocess.STDOUT))
        return where

    yield start
    for one in started:
        one.terminate()
        one.wait()


def until(seen, what: str):
    """What is seen, once something is: within a minute."""
    for _ in range(300):
        try:
            if found := seen():
                return found
        except OSError:  # it is not there yet
            pass
        threading.Event().wait(0.2)
    raise AssertionError(f"never: {what}")
