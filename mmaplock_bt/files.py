"""Files written for the user: none that is there is written over, unless that is asked for."""

import itertools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, TextIO

from mmaplock_bt.errors import UsageError


def check(paths: Iterable[str], *, force: bool) -> None:
    """Raises UsageError, before anything is traced, for files that cannot be written.

    That is one in no folder, one that is there, one that is asked for twice.
    """
    seen: set[Path] = set()
    for path in paths:
        place = Path(path)
        _check_place(place)
        if is_taken(place) and not force:
            raise UsageError(f"{path} is there already: give another name, or --force")
        if place.absolute() in seen and not _is_special(place):
            raise UsageError(f"{path} would be written twice: give two names")
        seen.add(place.absolute())


def _check_place(place: Path) -> None:
    """Raises UsageError for a file that this user cannot write."""
    try:
        place.parent.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"cannot write {place}: there is no folder {place.parent}") from error
    except OSError as error:
        raise UsageError(f"cannot write {place}: {error.strerror}") from error
    written = place if os.access(place, os.F_OK) else place.parent
    if not os.access(written, os.W_OK):
        raise UsageError(f"cannot write {place}: {written} is not writable for this user")


def is_taken(place: Path) -> bool:
    """Tells whether something would be lost; a device or a FIFO keeps nothing."""
    return os.path.lexists(place) and not _is_special(place)


def write(path: str, text: str | bytes, *, force: bool) -> None:
    """Writes a file, whole or not at all. Raises OSError.

    Where the file has appeared since check(), it is left as it is: the text goes beside it, and
    UsageError says where.
    """
    place = Path(path)
    if _is_special(place):
        with place.open("wb") as file:
            file.write(encoded(text))
        return
    made = _made(place, encoded(text))
    try:
        _name(made, place, force=force)
    except FileExistsError as error:
        spare = _beside(place)
        os.link(made, spare)
        raise UsageError(
            f"{path} has appeared meanwhile and is left as it is: what was for it is in {spare}"
        ) from error
    finally:
        made.unlink(missing_ok=True)


def opened(path: str, *, force: bool, buffering: int = -1, errors: str | None = None) -> TextIO:
    """Opens a file that is written bit by bit. Raises OSError.

    FileExistsError for one that is there; a link is not followed.
    """
    is_special = _is_special(Path(path))
    mode: Literal["w", "x"] = "w" if force or is_special else "x"
    opener = None if is_special else _no_link
    return open(path, mode, buffering, encoding="utf-8", errors=errors, opener=opener)


def encoded(text: str | bytes) -> bytes:
    """Returns the bytes of a file; what UTF-8 cannot write becomes an escape."""
    return text.encode("utf-8", "backslashreplace") if isinstance(text, str) else text


def _made(place: Path, data: bytes) -> Path:
    """The bytes in a file of its own beside the place."""
    made = place.with_name(f".{place.name[:200]}.{os.urandom(8).hex()}")
    try:
        with made.open("xb") as file:
            file.write(data)
    except OSError:
        made.unlink(missing_ok=True)
        raise
    return made


def _name(made: Path, place: Path, *, force: bool) -> None:
    """Raises FileExistsError for a place that is taken, unless it may be: then that is replaced."""
    if force:
        made.replace(place)
    else:
        os.link(made, place)


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def _is_special(place: Path) -> bool:
    return place.exists() and not place.is_file()


def _beside(place: Path) -> Path:
    stem, dot, suffixes = place.name.partition(".")
    names = (f"{stem}-{turn}{dot}{suffixes}" for turn in itertools.count(2))
    return next(
        place.with_name(name) for name in names if not os.path.lexists(place.with_name(name))
    )
