"""The result files below folders, and the host that each is of.

`host=NAME` on the way names it, as DuckDB, Hive and Spark read it; else the file's folder does.
"""

import os
import stat
import urllib.parse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmaplock_bt import resources
from mmaplock_bt.errors import UsageError
from mmaplock_bt.escaping import plain
from mmaplock_bt.units import counted

FILES, DEPTH, FOLDERS = 10_000, 8, 100_000
SUFFIX, HOST = ".json", "host="


@dataclass(frozen=True)
class Place:
    """A file to be read; `fault` is why it cannot be."""

    host: str
    path: Path
    fault: str = ""


def found(given: Sequence[str]) -> list[Place]:
    """Returns every result file once, in the order of names.

    Raises UsageError for a path that is not there, and where there are no files or too many.
    """
    places: dict[str, Place] = {}
    for path in given:
        for place in _below(path):
            places.setdefault(os.path.realpath(place.path), place)
            if len(places) > FILES:
                raise UsageError(f"{path}: more than {FILES:,} files: merge parts of them")
    if not places:
        raise UsageError(f"{', '.join(given)}: no result file ({SUFFIX}) below")
    return list(places.values())


def ambiguous(places: Sequence[Place]) -> Iterator[str]:
    """Yields a sentence for each name that several folders gave, none of them `host=NAME`."""
    folders: dict[str, set[Path]] = {}
    for place in places:
        if _partition(place.path) is None:
            folders.setdefault(place.host, set()).add(place.path.parent)
    for host, ways in folders.items():
        if len(ways) > 1:
            yield (
                f"{counted(len(ways), 'folder')} of the name {host} count as one host: call them "
                f"{HOST}NAME where they are not"
            )


def _below(path: str) -> Iterator[Place]:
    if "\0" in path:
        raise UsageError(f"cannot read {path}: no file has such a name")
    if not resources.is_folder(path):
        if not os.path.lexists(path):
            raise UsageError(f"cannot read {path}: no such file or folder")
        yield _place(Path(os.path.realpath(path)), shown=Path(path))
        return
    refused: list[OSError] = []
    for number, (folder, inner, names) in enumerate(os.walk(path, onerror=refused.append)):
        if number >= FOLDERS:
            raise UsageError(f"{path}: more than {FOLDERS:,} folders: merge parts of them")
        inner.sort()
        if folder.count(os.sep) - path.rstrip(os.sep).count(os.sep) >= DEPTH:
            inner.clear()
        yield from (_place(Path(folder, name)) for name in sorted(names) if name.endswith(SUFFIX))
    for error in refused:
        yield Place("", Path(error.filename), error.strerror or "cannot be read")


def _place(path: Path, shown: Path | None = None) -> Place:
    """No link below a folder is followed: it would be counted twice, or lead anywhere."""
    folder = path.absolute().parent
    name = folder.resolve().name if folder.name == ".." else folder.name
    return Place(plain(_partition(path) or name or "/"), shown or path, _fault(path))


def _partition(path: Path) -> str | None:
    names = [name for name in path.absolute().parent.parts if name.startswith(HOST)]
    return urllib.parse.unquote(names[-1].removeprefix(HOST)) or None if names else None


def _fault(path: Path) -> str:
    try:
        kind = path.lstat().st_mode
    except OSError as error:
        return error.strerror or "cannot be read"
    if stat.S_ISLNK(kind):
        return "a link: only what it leads to is read, where that is given"
    return "" if stat.S_ISREG(kind) else "no regular file"
