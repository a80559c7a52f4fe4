"""Opens a file that a user names to be read: whatever it is, nobody is kept waiting by it."""

import io
import os
import select
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from mmaplock_bt.errors import UsageError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

IDLE_S = 60  # how long a FIFO may bring nothing


def opened(path: str, stdin: str) -> io.BufferedReader:
    """Opens a regular file, or a pipe that somebody writes to; `stdin` stands for standard input.

    Raises OSError, UsageError.
    """
    return io.BufferedReader(io.FileIO(0, closefd=False) if path == stdin else _opened(path))


def as_text(file: io.BufferedReader) -> io.TextIOWrapper:
    """Returns what reads a file's text: names of threads are bytes; lines end at \\n alone."""
    return io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="\n")


class _Fifo(io.FileIO):
    """A FIFO that was opened without waiting for its writer."""

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Returns how much came; 0 at the end. Raises UsageError where nothing comes."""
        while (found := super().readinto(buffer)) is None:
            if not select.select([self], [], [], IDLE_S)[0]:
                raise UsageError(f"nothing has come out of this FIFO for {IDLE_S} s")
        return found


def _opened(path: str) -> io.FileIO:
    kind = Path(path).stat().st_mode  # opening alone starts some devices
    if not stat.S_ISREG(kind) and not stat.S_ISFIFO(kind):
        raise UsageError("a device or a socket, not a file")
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISFIFO(kind):
        return _Fifo(descriptor)
    if not stat.S_ISREG(kind):
        os.close(descriptor)
        raise UsageError("a device or a socket, not a file")
    return io.FileIO(descriptor)
