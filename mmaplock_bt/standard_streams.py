"""Standard output and error as reports need them: they take any character, and no write raises.

A reader that went away is no error. A full disk is one, told at the end: until then a run goes on.
"""

import codecs
import errno
import io
import os
import select
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

LOOKALIKES = "mmaplock-bt-lookalikes"
_ASCII = {
    "–": "-", "—": "-", "…": "...", "·": "|", "µ": "u", "μ": "u", "×": "x", "±": "+/-", "→": "->",
    "≥": ">=", "≤": "<=", "≈": "~", "█": "#", "▉": "#", "▊": "#", "▋": "#", "▌": "#", "▍": "|",
    "▎": "|", "▏": "|", "─": "-", "│": "|", "✅": "ok", "❌": "FAIL", "⚠": "!", "\ufe0f": "",
}  # fmt: skip


class Stream(io.FileIO):
    """A descriptor; `failure` is the first error of a write, after which nothing is written."""

    failure: OSError | None = None

    def write(self, data: "ReadableBuffer", /) -> int:
        """Returns how much was taken; all of it once something failed."""
        try:
            while self.failure is None:
                written = super().write(data)
                if written is not None:
                    return written
                select.select([], [self.fileno()], [])  # somebody made it non-blocking
        except OSError as error:
            self.failure = error
        return memoryview(data).nbytes


def lookalike(error: UnicodeError) -> tuple[str, int]:
    """Replaces what an encoding lacks by ASCII that looks like it; else by an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(map(_ascii, lacking)), error.end


def install() -> None:
    """Puts them in place of this process's; a closed one leads nowhere."""
    codecs.register_error(LOOKALIKES, lookalike)
    sys.stdout = _made(1, sys.stdout)
    sys.stderr = _made(2, sys.stderr)


def failure() -> str | None:
    """Returns why standard output did not take everything; None where it did, or nobody reads."""
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    found = raw.failure if isinstance(raw, Stream) else None
    return None if found is None or found.errno == errno.EPIPE else found.strerror


def _made(descriptor: int, before: TextIO | None) -> TextIO:
    if before is None:  # closed by the caller: not to be mistaken for a file that is opened later
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    encoding = before.encoding if before else "utf-8"
    raw = Stream(descriptor, "w", closefd=False)
    lines = descriptor == 2 or raw.isatty()
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, LOOKALIKES, line_buffering=lines)


def _ascii(character: str) -> str:
    if character in _ASCII:
        return _ASCII[character]
    import unicodedata  # noqa: PLC0415  (seldom needed)

    bare = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return bare or character.encode("ascii", "backslashreplace").decode()
