"""A bpftrace that is started: its process, its script in a folder of its own, its FIFO.

Imports little: bpftrace is started before the rest of the program is there (see head_start).
"""

import os
from contextlib import suppress

from mmaplock_bt.tracing.process import Process

RAW_PROBE = "\nrawtracepoint:"
_FILES = ("script.bt", "stream")


class Order:
    """What is to be run: a script by a bpftrace with these flags and settings.

    Two that are equal start the same.
    """

    def __init__(self, words: list[str], settings: dict[str, str], text: str) -> None:
        self.words = words  # the program's path, then its flags
        self.settings = settings  # of the environment
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Order) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  # it is compared, never looked up


class Launch:
    """An order's process, which waits until it is told its pids. Raises OSError."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.pids: list[int] = []
        self.stream = -1
        self._btf: int | None = None
        self.folder = _new_folder()
        try:
            self._begin()
        except BaseException:
            self._let_go()
            raise

    def _begin(self) -> None:
        self.script, fifo = (f"{self.folder}/{name}" for name in _FILES)
        with os.fdopen(
            os.open(self.script, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb"
        ) as file:
            file.write(self.order.text.encode())
        os.mkfifo(fifo, 0o600)
        # Non-blocking: opening a FIFO waits for its writer, which is not started yet.
        self.stream = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if RAW_PROBE in self.order.text:
            # Here: where no raw tracepoint is asked for, that is ctypes for nothing.
            from mmaplock_bt.machine import held_btf  # noqa: PLC0415

            self._btf = held_btf.load()
        words = [*self.order.words, "-f", "json", "-o", fifo, self.script]
        self.process = Process(words, {**os.environ, **self.order.settings})

    def tell(self, pids: list[int]) -> None:
        """Lets bpftrace be executed with these pids for $1, $2 and $3."""
        self.pids = pids
        self.process.tell([str(pid) for pid in pids])

    def is_live(self) -> None:
        """Lets go of what is needed only until the probes are attached.

        bpftrace has both files open: from here on even SIGKILL leaves no file behind.
        """
        if self._btf is not None:
            os.close(self._btf)
            self._btf = None
        self.remove_files()

    def remove_files(self) -> None:
        """Removes the folder, once or again."""
        for name in _FILES:
            with suppress(OSError):
                os.unlink(f"{self.folder}/{name}")  # noqa: PTH108
        with suppress(OSError):
            os.rmdir(self.folder)  # noqa: PTH106

    def end(self) -> None:
        """Kills bpftrace if it runs, and leaves nothing behind."""
        self.process.end()
        self._let_go()

    def _let_go(self) -> None:
        self.is_live()
        if self.stream >= 0:
            os.close(self.stream)
            self.stream = -1


def _new_folder() -> str:
    """A folder of this user's alone, as tempfile's; importing that takes longer than starting."""
    base = os.environ.get("TMPDIR") or "/tmp"
    made = f"{base}/mmaplock-bt-{os.urandom(8).hex()}"
    os.mkdir(made, 0o700)  # noqa: PTH102  (fails if it is there)
    return made
