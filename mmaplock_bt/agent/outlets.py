"""Ways out beside /metrics, each in a thread of its own at its own pace: a file, a receiver."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mmaplock_bt import files
from mmaplock_bt.errors import UsageError

S = 10**9
GRACE_S = 2.0


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
