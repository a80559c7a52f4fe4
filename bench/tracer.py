"""One contender while it traces: started, awaited, ended."""

import os
import re
import select
import signal
import subprocess
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO

from bench.contenders import HOLDER, Contender
from bench.idleness import Idleness

SETTLE_S = 0.25  # ours looks at its price first, with statistics on: that is not what it costs
READY_S = 400.0  # an emulated kernel on a busy machine takes minutes
END_S = 120  # perf trace has its lines to write first
PLACE = re.compile(r"\{([\w.:-]+)\}")
ERROR = re.compile(r"error|fatal|not available|permitted", re.IGNORECASE)


Places = dict[str, tuple[str, ...]]  # what stands for a word in braces; several words, for one


class RefusedError(Exception):
    """A finished sentence: why a contender does not trace here."""


class Tracer:
    """A context manager: inside, the contender's probes are live. Raises RefusedError.

    `missing` has the sentences for places that are not there.
    """

    def __init__(self, contender: Contender, places: Places, missing: dict[str, str]) -> None:
        self._contender = contender
        self._places = places
        self._missing = missing
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Tracer":
        with ExitStack() as stack:
            self._process = self._started(stack)
            self._await(self._process)
            time.sleep(SETTLE_S)
            self._ending = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()

    def _started(self, stack: ExitStack) -> subprocess.Popen[bytes]:
        # In /tmp, which roots of other suites share with this machine.
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp"))
        self._folder = Path(folder)
        self._go = _fifo(self._folder / "go", stack)
        self._said = _fifo(self._folder / "ready", stack)
        words = self._words()
        stack.callback(self._end)
        errors = stack.enter_context((self._folder / "errors").open("wb"))
        try:
            return subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=self._output(stack), stderr=errors,
                start_new_session=True, cwd=folder,
            )  # fmt: skip
        except OSError as error:
            raise RefusedError(f"{words[0]}: {error.strerror}") from None

    def _output(self, stack: ExitStack) -> IO[bytes]:
        if self._contender.ready == "line":
            return stack.enter_context((self._folder / "output").open("wb"))
        return stack.enter_context(Path(os.devnull).open("wb"))

    def _words(self) -> list[str]:
        victim = self._places["victim"]
        holder = (*victim, "hold", str(self._folder / "ready"), str(self._folder / "go"))
        places = {**self._places, "holder": (" ".join(holder),), "work": (str(self._folder),)}
        return [
            word
            for given in self._contender.words
            for word in (holder if given == HOLDER else self._filled(given, places))
        ]

    def _filled(self, word: str, places: Places) -> tuple[str, ...]:
        names = [] if "\n" in word else PLACE.findall(word)  # a script is no word with places
        for name in names:
            if name not in places:
                raise RefusedError(self._missing.get(name, f"{name} is not here"))
        if len(names) == 1 and word == f"{{{names[0]}}}":
            return places[names[0]]
        return (PLACE.sub(lambda found: places[found[1]][0], word) if names else word,)

    def _await(self, process: subprocess.Popen[bytes]) -> None:
        began, idleness = time.monotonic(), Idleness(process.pid)
        while not self._is_ready(process, idleness):
            if process.poll() is not None:
                raise RefusedError(_sentence(self._told(), process.returncode))
            if time.monotonic() - began > READY_S:
                told = _sentence(self._told(), 0)
                raise RefusedError(f"its probes were not live after {READY_S:.0f} s: {told}")

    def _is_ready(self, process: subprocess.Popen[bytes], idleness: Idleness) -> bool:
        """Looks for at most 50 ms."""
        if self._contender.ready == "holder":
            return bool(select.select([self._said], [], [], 0.05)[0])
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
        if self._contender.ready == "line":
            return b'"ready"' in (self._folder / "output").read_bytes()
        return process.poll() is None and idleness.is_idle()

    def check(self) -> None:
        """Raises RefusedError where it has ended by itself: what was measured was untraced."""
        if self._process is None or self._process.poll() is not None:
            raise RefusedError(f"it ended while it was measured: {_sentence(self._told(), 0)}")

    def output(self) -> str:
        """Ends it; returns what a peer printed."""
        self._end()
        return (self._folder / "output").read_text("utf-8", errors="replace")

    def _told(self) -> str:
        return (self._folder / "errors").read_text("utf-8", errors="replace")

    def _end(self) -> None:
        """It ends when its command does, or its standard input; what does not is killed."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        os.write(self._go, b"x")
        if process.stdin is not None:
            process.stdin.close()
        if self._contender.ready == "settled":
            process.send_signal(signal.SIGINT)
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _fifo(path: Path, stack: ExitStack) -> int:
    """A FIFO, open for both ways: opening it never waits."""
    os.mkfifo(path, 0o600)
    number = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    stack.callback(os.close, number)
    return number


def _sentence(told: str, code: int) -> str:
    """What looks like its error, or what it said last."""
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    lines = [line for line in lines if "MEMLOCK" not in line]
    found = next((line for line in lines if ERROR.search(line)), lines[-1] if lines else "")
    said = re.sub(r"^(mmaplock-bt: )?(error: )?", "", found)[:200]
    return said or f"it said nothing (status {code})"
