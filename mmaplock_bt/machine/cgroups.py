"""Memory cgroups: their kernel ids are the inode numbers of their directories.

The hierarchy is the one with the memory controller: v1's own, or v2's unified one.
"""

import os
from contextlib import suppress
from pathlib import Path

from mmaplock_bt.errors import UsageError
from mmaplock_bt.units import plain

MOUNTS = Path("/proc/mounts")


def hierarchy() -> Path | None:
    """Returns the mount point of v1's memory hierarchy, else of v2's; None without either."""
    unified = None
    for line in MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines():
        _, folder, kind, options, *_ = line.split(" ")
        if kind == "cgroup" and "memory" in options.split(","):
            return Path(folder)
        if kind == "cgroup2":
            unified = unified or Path(folder)
    return unified


def cgroup_id(path: str) -> int:
    """Returns the id of a cgroup, given its path in the hierarchy or below the mount point.

    The id is the directory's inode number (kernfs, 64 bits). Raises UsageError where there is none.
    """
    root = hierarchy()
    if root is None:
        raise UsageError(f"--cgroup {path}: no cgroup hierarchy is mounted here")
    for candidate in (root / path.lstrip("/"), Path(path)):
        if candidate.is_dir() and candidate.is_relative_to(root):
            return candidate.stat().st_ino
    raise UsageError(f"--cgroup {path}: no such cgroup under {root} (see /proc/PID/cgroup)")


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
