"""A folder that only this user and root can have filled: what is read there may be executed.

Imports little: it is asked before the rest of the program is there.
"""

import os
import stat

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
