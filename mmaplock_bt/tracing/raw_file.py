"""The file of --save-raw: the window's lines as they come, and all but events beyond a bound."""

from collections.abc import Callable
from contextlib import suppress

from mmaplock_bt import files
from mmaplock_bt.errors import UsageError
from mmaplock_bt.stream.thinning import Thinning

BYTES = 512 << 20
_LOOKED_AT = 80  # characters of a line: its kind stands there


class RawFile:
    """A context manager around the file; `unwritten` is why it is not whole, or ''.

    `say` tells the user once that events are left out: what the script counted says how many.
    Making one raises UsageError where the file cannot be written.
    """

    def __init__(
        self,
        path: str,
        thinning: Thinning,
        say: Callable[[str], None],
        *,
        force: bool,
        most_bytes: int = BYTES,
    ) -> None:
        self.unwritten = ""
        self._path = path
        self._thinning = thinning
        self._say = say
        self._left_bytes = most_bytes
        self._is_full = False
        try:
            # Line by line: what came is kept however this process ends.
            self._file = files.opened(path, force=force, buffering=1, errors="surrogateescape")
        except OSError as error:
            raise UsageError(f"cannot write --save-raw {path}: {error.strerror}") from error

    def __enter__(self) -> "RawFile":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # a full disk was told when the line was written
            self._file.close()

    def keep(self, line: str) -> None:
        """Writes a line; the result is still to be had where that cannot be."""
        if self.unwritten or not line.strip() or self._is_left_out(line):
            return
        try:
            self._file.write(line + "\n")
        except OSError as error:
            self.unwritten = f"cannot write --save-raw {self._path}: {error.strerror}"

    def _is_left_out(self, line: str) -> bool:
        self._left_bytes -= len(line) + 1
        if self._left_bytes >= 0:
            return False
        if not self._is_full:
            self._is_full = True
            self._say(
                f"note: {self._path} has grown to its bound: the events that follow are in the "
                "result only (`report` counts them as lost)"
            )
        return self._thinning.is_event(line[:_LOOKED_AT].encode(errors="replace"))
