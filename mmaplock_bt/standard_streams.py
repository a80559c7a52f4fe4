"""Standard output and error as reports need them: they take any character, and no write raises.

A reader that went away is no error. A full disk is one, told at the end: until then a run goes on.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import select
import sys

from mmaplock_bt.escaping import lines, sentence

TYPE_CHECKING = False  # not typing's: a head start does not wait for that
if TYPE_CHECKING:
    from typing import TextIO

    from _typeshed import ReadableBuffer

LOOKALIKES = "mmaplock-bt-lookalikes"
_ASCII = {
    "–": "-", "—": "-", "…": "...", "·": "|", "µ": "u", "μ": "u", "×": "x", "±": "+/-", "→": "->",
    "≥": ">=", "≤": "<=", "≈": "~", "█": "#", "▉": "#", "▊": "#", "▋": "#", "▌": "#", "▍": "|",
    "▎": "|", "▏": "|", "─": "-", "│": "|", "✅": "ok", "❌": "FAIL", "⚠": "!", "\ufe0f": "",
}  # fmt: skip


class Guarded(io.TextIOWrapper):
    """Escapes what is written (escaping.lines), but for a text of which its writer takes care."""

    def write(self, text: str, /) -> int:
        """Returns the length of the text."""
        super().write(lines(text))
        return len(text)

    def exact(self, text: str) -> None:
        """Writes text as it is: colours, a countdown, a program."""
        super().write(text)


class Stream(io.FileIO):
    """A descriptor; `failure` is the first error of a write, after which nothing is written."""

    failure: OSError | None = None

    def write(self, data: ReadableBuffer, /) -> int:
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


def tell(message: str) -> None:
    """Prints a message of one line on standard error: the one place where that is done."""
    print(sentence(message), file=sys.stderr, flush=True)


def draw(text: str) -> None:
    """Writes on a terminal's standard error as it is."""
    _exactly(sys.stderr, text)
    sys.stderr.flush()


def show(text: str | bytes) -> None:
    """Writes on standard output a text that is harmless, or meant as it is."""
    if isinstance(text, str):
        _exactly(sys.stdout, text)
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(text)


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
    by_line = descriptor == 2 or raw.isatty()
    return Guarded(io.BufferedWriter(raw), encoding, LOOKALIKES, line_buffering=by_line)


def _exactly(stream: TextIO, text: str) -> None:
    """Another's stream, as in a test, has no guard."""
    getattr(stream, "exact", stream.write)(text)


def _ascii(character: str) -> str:
    if character in _ASCII:
        return _ASCII[character]
    import unicodedata  # noqa: PLC0415  (seldom needed)

    bare = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return bare or character.encode("ascii", "backslashreplace").decode()
