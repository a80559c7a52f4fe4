"""Memory cgroups: their kernel ids are the inode numbers of their directories.

The hierarchy is the one with the memory controller: v1's own, or v2's unified one.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mmaplock_bt.errors import UsageError
from mmaplock_bt.escaping import plain, shown
from mmaplock_bt.resources import is_folder

MOUNTS = Path("/proc/mounts")
ROOT = 1  # the inode of every hierarchy's root (kernfs)


def hierarchy() -> Path | None:
    """Returns the mount point of v1's memory hierarchy, else of v2's; None without either."""
    mounted = list(_mounted())
    memory = [one.folder for one in mounted if one.has("memory")]
    return _whole(memory) or _whole([one.folder for one in mounted if one.is_unified])


def is_unified() -> bool:
    """Tells whether the hierarchy is v2's.

    There the memory controller may be off below some cgroup, and whoever is in one further down has
    the memory controller of the one above: cgroups are told by the hierarchy itself.
    """
    mounted = list(_mounted())
    by_v1 = any(one.has("memory") for one in mounted)
    return any(one.is_unified for one in mounted) and not by_v1


def systemds() -> Path | None:
    """Returns the mount point of the hierarchy in which systemd keeps units, v1's own or v2's."""
    mounted = list(_mounted())
    named = [one.folder for one in mounted if one.has("name=systemd")]
    return _whole(named) or _whole([one.folder for one in mounted if one.is_unified])


def is_whole(root: Path) -> bool:
    """Tells whether a hierarchy's mount begins at its root; in a cgroup namespace it does not."""
    return root.stat().st_ino == ROOT


@dataclass(frozen=True)
class _Mount:
    folder: Path
    is_unified: bool
    options: list[str]

    def has(self, option: str) -> bool:
        return not self.is_unified and option in self.options


def _mounted() -> Iterator[_Mount]:
    for line in os.fsdecode(MOUNTS.read_bytes()).splitlines():
        _, folder, kind, options, *_ = line.split(" ")
        if kind in ("cgroup", "cgroup2"):
            yield _Mount(_mount_point(folder), kind == "cgroup2", options.split(","))


def _whole(folders: list[Path]) -> Path | None:
    """The first that begins at its root: a container may have its own part mounted, too."""
    for folder in folders:
        with suppress(OSError):
            if is_whole(folder):
                return folder
    return folders[0] if folders else None


def _mount_point(written: str) -> Path:
    r"""Blanks, line ends and backslashes in a path are written \040 (proc(5), seq_path())."""
    return Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), written))


def cgroup_id(path: str) -> int:
    """Returns the id of a cgroup, given its path in the hierarchy or below the mount point.

    The id is the directory's inode number (kernfs, 64 bits). Raises UsageError where there is none.
    """
    root = hierarchy()
    if root is None:
        raise UsageError(f"--cgroup {shown(path)}: no cgroup hierarchy is mounted here")
    for candidate in (root / path.lstrip("/"), Path(path)):
        if is_folder(candidate) and candidate.resolve().is_relative_to(root.resolve()):
            return candidate.stat().st_ino
    raise UsageError(f"--cgroup {shown(path)}: no such cgroup under {root} (see /proc/PID/cgroup)")


def below(path: str) -> set[int]:
    """Returns the ids of the cgroup of this path in the hierarchy, and of those below it.

    None is an empty set. Raises OSError where it is not there.
    """
    root = hierarchy()
    if root is None:
        return set()
    place = root / path.lstrip("/")
    return {place.stat().st_ino, *_folders(place)}


def _folders(root: Path) -> Iterator[int]:
    folders = [str(root)]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield entry.inode()
                    folders.append(entry.path)


def paths(root: Path | None = None) -> dict[int, str]:
    """Returns the path within a hierarchy of every cgroup that exists, by id; else the memory's."""
    root = root or hierarchy()
    if root is None:
        return {}
    found = {root.stat().st_ino: "/"}
    folders = [str(root)]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    found[entry.inode()] = "/" + plain(os.path.relpath(entry.path, root))
                    folders.append(entry.path)
    return found
