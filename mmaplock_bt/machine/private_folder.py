"""A folder that only this user and root can have filled: what is read there may be executed.

What the tool remembers lies there, and is read and written here alone.
Imports little: it is asked before the rest of the program is there.
"""

import os
import stat
from contextlib import suppress

# A link is not followed, a FIFO not waited for, a terminal does not become ours.
_READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_WRITING = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


def is_ours(found: os.stat_result) -> bool:
    """Tells whether only this user and root may write what has this status."""
    return found.st_uid in (0, os.geteuid()) and not found.st_mode & _OTHERS_MAY_WRITE


def is_private(folder: str) -> bool:
    """Tells whether nobody else can put anything into it, nor another folder in its place.

    False for a folder that is not there.
    """
    parts = os.path.realpath(folder).split("/")
    above = ["/".join(parts[:n]) or "/" for n in range(1, len(parts))]
    try:
        return is_ours(os.stat(folder)) and all(_keeps_ours(os.stat(one)) for one in above)  # noqa: PTH116
    except OSError:
        return False


def _keeps_ours(found: os.stat_result) -> bool:
    """Whether others cannot rename in it what is ours: as in /tmp, by its sticky bit."""
    return found.st_uid in (0, os.geteuid()) and bool(
        not found.st_mode & _OTHERS_MAY_WRITE or found.st_mode & stat.S_ISVTX
    )


def read(path: str, limit_bytes: int) -> bytes | None:
    """Returns a file's content if only this user and root can have written it and put it there.

    None for everything else: a link, what is no regular file, one longer than that.
    """
    with suppress(OSError), os.fdopen(os.open(path, _READING), "rb") as opened:
        found = os.fstat(opened.fileno())
        if stat.S_ISREG(found.st_mode) and is_ours(found) and is_private(os.path.dirname(path)):  # noqa: PTH120
            data = opened.read(limit_bytes + 1)
            return data if len(data) <= limit_bytes else None
    return None


def write(path: str, data: bytes) -> None:
    """Writes a file whole, and makes its folder; neither where others could reach. Raises OSError.

    Another's home may be left in the environment, as by sudo: nothing is made there.
    """
    folder = os.path.dirname(path)  # noqa: PTH120
    if not is_private(_there(folder)):
        return
    os.makedirs(folder, 0o700, exist_ok=True)  # noqa: PTH103
    part = f"{path}.{os.getpid()}"
    with os.fdopen(os.open(part, _WRITING, 0o600), "wb") as opened:
        opened.write(data)
    os.rename(part, path)  # noqa: PTH104


def _there(folder: str) -> str:
    """The folder, else the nearest one above it that is there."""
    while folder != "/" and not os.path.lexists(folder):
        folder = os.path.dirname(folder) or "/"  # noqa: PTH120
    return folder
