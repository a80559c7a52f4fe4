"""Memory cgroups: their kernel ids are the inode numbers of their directories.

The hierarchy is the one with the memory controller: v1's own, or v2's unified one.
"""

import os
import re
from contextlib import suppress
from pathlib import Path

from mmaplock_bt.errors import UsageError
from mmaplock_bt.escaping import plain, shown
from mmaplock_bt.resources import is_folder

MOUNTS = Path("/proc/mounts")


def hierarchy() -> Path | None:
    """Returns the mount point of v1's memory hierarchy, else of v2's; None without either."""
    unified = None
    for line in os.fsdecode(MOUNTS.read_bytes()).splitlines():
        _, folder, kind, options, *_ = line.split(" ")
        if kind == "cgroup" and "memory" in options.split(","):
            return _mount_point(folder)
        if kind == "cgroup2":
            unified = unified or _mount_point(folder)
    return unified


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


def paths() -> dict[int, str]:
    """Returns the path within the hierarchy of every cgroup that exists, by id."""
    root = hierarchy()
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
