"""A real terminal that a test types on and reads: tmux, on a server of its own."""

import os
import shlex
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.limits import limit_s

LIMIT_S = limit_s(60)


class Terminal:
    """One pane."""

    def __init__(self, server: str) -> None:
        self._server = server

    def says(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-L", self._server, "-f", "/dev/null", *words],
            capture_output=True, text=True, check=True, timeout=LIMIT_S,
        )  # fmt: skip
        return done.stdout

    def keys(self, *names: str) -> None:
        self.says("send-keys", *names)

    def resize(self, columns: int, lines: int) -> None:
        self.says("resize-window", "-x", str(columns), "-y", str(lines))

    @property
    def text(self) -> str:
        return self.says("capture-pane", "-p", "-S", "-")  # with what has scrolled away

    def until(self, *wanted: str | Callable[[str], bool]) -> str:
        """What is shown once all of this is, or the failure with what was."""
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            text = self.text
            if all(one(text) if callable(one) else one in text for one in wanted):
                return text
            time.sleep(0.05)
        raise AssertionError(f"{wanted} never came:\n{self.text}")


@contextmanager
def terminal(*words: str, columns: int = 110, lines: int = 40) -> Iterator[Terminal]:
    """A command on a terminal of this size; a shell's prompt `done: STATUS` follows it."""
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not there")
    one = Terminal(f"mmaplock-{uuid.uuid4().hex[:8]}")
    script = f"trap : INT; {shlex.join(words)}; echo done: $?; cat"
    size = ("-x", str(columns), "-y", str(lines))
    environment = [word for name in ("PYTHONPATH", "PYTHONPYCACHEPREFIX") if name in os.environ
                   for word in ("-e", f"{name}={os.environ[name]}")]  # fmt: skip
    one.says("new-session", "-d", *size, *environment, "sh", "-c", script)
    try:
        yield one
    finally:
        one.says("kill-server")
