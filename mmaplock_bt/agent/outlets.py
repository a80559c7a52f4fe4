"""Ways out beside /metrics, each in a thread of its own at its own pace: a file, a receiver."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from prometheus_client.core import Metric

from mmaplock_bt import files
from mmaplock_bt.agent import config as configuration
from mmaplock_bt.agent import exposition
from mmaplock_bt.agent.config import Config
from mmaplock_bt.errors import UsageError

S = 10**9
GRACE_S = 2.0


Told = Callable[[], list[Metric]]


class Outlets:
    """Those that a configuration asks for; a context manager that ends them.

    `state` returns the metrics, `say` prints a sentence. Following raises UsageError for a place
    that cannot be written and for a library that is not there.
    """

    def __init__(self, state: Told, say: Callable[[str], None]) -> None:
        self._state = state
        self._say = say
        self._textfile: configuration.Textfile | None = None
        self._otlp: configuration.Otlp | None = None
        self._writing, self._sending = ExitStack(), ExitStack()
        self._pusher: Any = None

    def __enter__(self) -> "Outlets":
        return self

    def __exit__(self, *_: object) -> None:
        self._sending.close()
        self._writing.close()

    def told(self) -> list[Metric]:
        """Returns the metrics with what became of requests."""
        one = self._pusher
        return [*self._state(), *(exposition.pushed(one.sent, one.dropped) if one else ())]

    def follow(self, config: Config) -> None:
        """Begins what is new, and ends what is not wanted any more."""
        check(config)
        if config.otlp != self._otlp:
            self._otlp = config.otlp
            self._sending.close()
            self._send(config.otlp)
        if config.textfile != self._textfile:
            before, self._textfile = self._textfile, config.textfile
            self._writing.close()
            if before and not (config.textfile and config.textfile.path == before.path):
                with suppress(OSError):  # its collector would read the same metrics twice
                    Path(before.path).unlink()
            self._write(config.textfile)

    def _send(self, otlp: configuration.Otlp | None) -> None:
        before, self._pusher = self._pusher, None
        if otlp is None:
            return
        made = _library().Pusher(otlp.url, socket.gethostname(), self.told, self._say, before)
        self._pusher = made
        self._sending.enter_context(every(otlp.every, made.run, self._say))

    def _write(self, textfile: configuration.Textfile | None) -> None:
        if textfile is None:
            return
        one = Textfile(textfile.path, lambda: exposition.rendered(self.told(), "")[0], self._say)
        self._writing.callback(one.run)  # the last time: that nothing is traced any more
        self._writing.enter_context(every(textfile.every, one.run, self._say))


def check(config: Config) -> None:
    """Raises UsageError for a way out that cannot be."""
    if config.textfile is not None:
        files.check([config.textfile.path], force=True)
    if config.otlp is not None:
        _library()


def _library() -> Any:
    try:
        return import_module("mmaplock_bt.agent.otlp")
    except ImportError as error:
        raise UsageError(
            "`otlp:` needs another library: pip install 'mmaplock-bt[otlp]'"
        ) from error


class Textfile:
    """A file for node_exporter's textfile collector, written whole; `say` prints a sentence.

    Raises UsageError for a place that cannot be written.
    """

    def __init__(self, path: str, text: Callable[[], bytes], say: Callable[[str], None]) -> None:
        self._path = path
        self._text = text
        self._say = say
        self._fault = ""
        files.check([path], force=True)

    def run(self) -> None:
        """Writes it; a fault is told when it comes, not again while it lasts."""
        try:
            files.write(self._path, self._text(), force=True)
            fault = ""
        except (OSError, UsageError) as error:
            fault = str(error)
        if fault and fault != self._fault:
            self._say(f"{self._path} is not written: {fault}")
        self._fault = fault


@contextmanager
def every(pause_ns: int, work: Callable[[], None], say: Callable[[str], None]) -> Iterator[None]:
    """Does the work at once and then at intervals, while the block lasts."""
    over = threading.Event()

    def run() -> None:
        while True:
            began_ns = time.monotonic_ns()
            try:
                work()
            except Exception as error:  # a fault of ours is no end of the rest
                say(f"a fault of mmaplock-bt itself ({type(error).__name__}: {error})")
            if over.wait(max(0.1, (began_ns + pause_ns - time.monotonic_ns()) / S)):
                return

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(GRACE_S)  # what waits for a receiver is left behind
