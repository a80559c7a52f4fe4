"""Files written for the user: none that is there is written over, unless that is asked for.

They are written as the user who is served, and never through another user's link.
"""

import errno
import itertools
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from mmaplock_bt import person
from mmaplock_bt.errors import UsageError

_WHOLE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NAMELESS = os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)  # as of vfat
_STREAMS = {"/dev/stdout": 1, "/dev/stderr": 2}
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d{1,6})")


def check(paths: Iterable[str], *, force: bool) -> None:
    """Raises UsageError, before anything is traced, for files that cannot be written.

    That is one in no folder, one that is there, one that is asked for twice.
    """
    seen: set[Path] = set()
    with person.acting():
        for path in paths:
            place = Path(path)
            _check_place(place)
            if is_taken(place) and not force:
                raise UsageError(f"{path} is there already: give another name, or --force")
            real = place.parent.resolve() / place.name
            if real in seen and not _is_special(place):
                raise UsageError(f"{path} would be written twice: give two names")
            seen.add(real)


def _check_place(place: Path) -> None:
    """Raises UsageError for a file that this user cannot write."""
    if _own_descriptor(place) is not None:
        return
    try:
        place.parent.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"cannot write {place}: there is no folder {place.parent}") from error
    except OSError as error:
        raise UsageError(f"cannot write {place}: {error.strerror}{_as_root()}") from error
    _check_way(place.parent)
    written = place if os.access(place, os.F_OK) else place.parent
    if not os.access(written, os.W_OK, effective_ids=True):
        raise UsageError(
            f"cannot write {place}: {written} is not writable for {_user()}{_as_root()}"
        )


def _user() -> str:
    whom = person.served()
    return "this user" if whom is None else f"the user {whom.name}"


def _as_root() -> str:
    return "" if person.served() is None else " (--user root writes as root)"


def _check_way(folder: Path) -> None:
    """Raises UsageError where somebody else has put a folder or link on the way, as into /tmp.

    Whoever owns it can lead what is written elsewhere, whenever he likes.
    """
    whole = folder.absolute()
    for one in (whole, *whole.parents[:-1]):
        try:
            found, above = one.lstat(), one.parent.stat()
        except OSError:
            continue
        if above.st_mode & stat.S_IWOTH and not _is_trusted(found):
            raise UsageError(
                f"{one} is another user's, in a folder that everybody may write to: "
                "what is written there may be led elsewhere. Give another folder"
            )


def _is_trusted(found: os.stat_result) -> bool:
    return found.st_uid in (0, os.geteuid())


def is_taken(place: Path) -> bool:
    """Tells whether something would be lost; a device or a FIFO keeps nothing."""
    return not _is_special(place) and os.path.lexists(place)


def folder(place: Path) -> None:
    """Makes a folder, for its owner alone, and those above it. Raises UsageError."""
    with person.acting():
        _check_way(place)
        try:
            for one in (*reversed(place.parents), place):
                if not os.path.lexists(one):
                    one.mkdir(0o700, exist_ok=True)
            if not place.is_dir():
                raise NotADirectoryError(20, "there is another file of this name")
        except OSError as error:
            raise UsageError(f"cannot make the folder {place}: {error.strerror}") from error
        _check_way(place)  # it may have been another's that came in between


def write(path: str, text: str | bytes, *, force: bool) -> None:
    """Writes a file, whole or not at all. Raises OSError.

    Where the file has appeared since check(), it is left as it is: the text goes beside it, and
    UsageError says where.
    """
    place = Path(path)
    if _is_special(place):
        with person.acting():
            descriptor = _descriptor(place, force=force)
        with os.fdopen(descriptor, "wb") as file:
            file.write(encoded(text))
        return
    with person.acting():
        _write_whole(place, encoded(text), force=force)


def _write_whole(place: Path, data: bytes, *, force: bool) -> None:
    with _made(place, data) as made:
        try:
            _name(made, place, force=force)
        except FileExistsError as error:
            spare = _beside(place)
            _name(made, spare, force=False)
            raise UsageError(
                f"{place} has appeared meanwhile and is left as it is: "
                f"what was for it is in {spare}"
            ) from error


def opened(path: str, *, force: bool, buffering: int = -1, errors: str | None = None) -> TextIO:
    """Opens a file that is written bit by bit. Raises OSError.

    FileExistsError for one that is there, without `force`; with it a new file takes its place, so
    that neither a link nor another name of the old one leads anywhere.
    """
    with person.acting():
        descriptor = _descriptor(Path(path), force=force)
    return os.fdopen(descriptor, "w", buffering, encoding="utf-8", errors=errors)


def _descriptor(place: Path, *, force: bool) -> int:
    own = _own_descriptor(place)
    if own is not None:
        return os.dup(own)  # opened anew it would be cut off
    if _is_special(place):
        return os.open(os.path.realpath(place), os.O_WRONLY | os.O_NOFOLLOW | os.O_NOCTTY)
    if force:
        place.unlink(missing_ok=True)
    return os.open(place, _WHOLE, 0o666)


def encoded(text: str | bytes) -> bytes:
    """Returns the bytes of a file; what UTF-8 cannot write becomes an escape."""
    return text.encode("utf-8", "backslashreplace") if isinstance(text, str) else text


@contextmanager
def _made(place: Path, data: bytes) -> Iterator[Path]:
    """The bytes in a file of its own, which has no name: nothing is left of a run that is killed.

    Where the file system cannot do that it lies beside the place.
    """
    made = _unlike(place)
    try:
        descriptor = os.open(place.parent, _NAMELESS, 0o666)
        made = Path(f"/proc/self/fd/{descriptor}")
    except OSError:
        descriptor = os.open(made, _WHOLE, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            yield made
    finally:
        if not _is_nameless(made):
            made.unlink(missing_ok=True)


def _unlike(place: Path) -> Path:
    """A name beside it that nobody has."""
    return place.with_name(f".{place.name[:200]}.{os.urandom(8).hex()}")


def _is_nameless(made: Path) -> bool:
    return _own_descriptor(made) is not None


def _name(made: Path, place: Path, *, force: bool) -> None:
    """Raises FileExistsError for a place that is taken, unless it may be: then that is replaced."""
    if not (force and os.path.lexists(place)):
        try:
            _link(made, place)
            return
        except OSError as error:
            has_appeared = force and error.errno == errno.EEXIST
            if error.errno not in _NO_LINKS and not has_appeared:
                raise
        if not force:
            os.close(os.open(place, _WHOLE, 0o666))
    if not _is_nameless(made):
        made.replace(place)
        return
    # What takes another's place needs a name before: for a moment, and it is whole by now.
    named = _unlike(place)
    try:
        _give_name(made, named)
        named.replace(place)
    finally:
        named.unlink(missing_ok=True)


def _link(made: Path, place: Path) -> None:
    # With a folder linkat(2) is called, which follows /proc's link to a file without a name.
    folder = os.open(place.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.link(made, place.name, dst_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)


def _give_name(made: Path, named: Path) -> None:
    try:
        _link(made, named)
    except OSError:
        shutil.copyfile(made, named)


def _own_descriptor(place: Path) -> int | None:
    """What this process has open under such a name."""
    found = _DESCRIPTOR.fullmatch(str(place))
    return int(found[1]) if found else _STREAMS.get(str(place))


def _is_special(place: Path) -> bool:
    """Whether it is a device or FIFO that one writes to; not another user's, nor by his link."""
    if _own_descriptor(place) is not None:
        return True
    try:
        found = place.lstat()
        if stat.S_ISLNK(found.st_mode) and _is_trusted(found):
            found = place.stat()
    except OSError:
        return False
    return stat.S_ISCHR(found.st_mode) or (stat.S_ISFIFO(found.st_mode) and _is_trusted(found))


def _beside(place: Path) -> Path:
    stem, dot, suffixes = place.name.partition(".")
    names = (f"{stem}-{turn}{dot}{suffixes}" for turn in itertools.count(2))
    return next(
        place.with_name(name) for name in names if not os.path.lexists(place.with_name(name))
    )
