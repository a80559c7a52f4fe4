"""Who else could change what is read at a path: then root does not obey what is written there.

Imports little: `list` asks it, too.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress

_LINKS = 40  # that are followed, as the kernel does (path_resolution(7))


class Stranger:
    """A file or folder that somebody else can write: `why`, and how to `mend` it."""

    def __init__(self, path: str, why: str, mend: str) -> None:
        self.path, self.why, self.mend = path, why, mend


def stranger(path: str) -> Stranger | None:
    """Finds who could change what is read at this path: in it, or in a folder on the way to it.

    Nobody else are root, this user, the user behind sudo, and a group in which there is only its
    owner. Returns None where there is nobody else. Raises OSError.
    """
    *folders, file = _steps(path)
    for one in folders:
        if found := _who(one, os.stat(one), may_be_sticky=True):  # noqa: PTH116
            return found
    return _who(file, os.stat(file), may_be_sticky=False)  # noqa: PTH116


def _steps(path: str) -> Iterator[str]:
    """Every folder in which a name of the path is looked up, also those of links; then the file."""
    left = os.path.abspath(path).split("/")[:0:-1]  # noqa: PTH100
    here, links = "/", 0
    while left:
        name = left.pop()
        if name in ("", "."):
            continue
        if name == "..":
            here = os.path.dirname(here)  # noqa: PTH120
            continue
        yield here
        there = os.path.join(here, name)  # noqa: PTH118
        if not os.path.islink(there):  # noqa: PTH114
            here = there
            continue
        links += 1
        if links > _LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        target = os.readlink(there)  # noqa: PTH115
        here = "/" if target.startswith("/") else here
        left += target.split("/")[::-1]
    yield here


def _who(path: str, found: os.stat_result, *, may_be_sticky: bool) -> Stranger | None:
    if found.st_uid not in _trusted():
        return Stranger(path, f"belongs to {_user(found.st_uid)}", f"chown root {path}")
    if may_be_sticky and found.st_mode & stat.S_ISVTX:
        return None
    if found.st_mode & stat.S_IWOTH:
        return Stranger(path, "can be written by everybody", f"chmod o-w {path}")
    if found.st_mode & stat.S_IWGRP and not _is_alone(path, found):
        return Stranger(path, f"can be written by {_group(found.st_gid)}", f"chmod g-w {path}")
    return None


def _trusted() -> set[int]:
    """Whoever may become root by sudo or doas gains nothing here."""
    import pwd  # noqa: PLC0415  (seldom needed)

    found = {0, os.geteuid()}
    if os.geteuid() == 0:
        with suppress(KeyError, ValueError):
            found.add(int(os.environ["SUDO_UID"][:10]))
        with suppress(KeyError, ValueError):
            found.add(pwd.getpwnam(os.environ["DOAS_USER"]).pw_uid)
    return found


def _is_alone(path: str, found: os.stat_result) -> bool:
    """Whether nobody but the owner is in the group, as in those that useradd makes for each user.

    With an access control list the group's bits are those of everybody in the list (acl(5)).
    """
    import grp  # noqa: PLC0415  (seldom needed)
    import pwd  # noqa: PLC0415

    with suppress(OSError):
        os.getxattr(path, "system.posix_acl_access")
        return False
    with suppress(KeyError):
        members = set(grp.getgrgid(found.st_gid).gr_mem)
        members |= {one.pw_name for one in pwd.getpwall() if one.pw_gid == found.st_gid}
        return members <= {pwd.getpwuid(found.st_uid).pw_name}
    return False


def _user(uid: int) -> str:
    import pwd  # noqa: PLC0415  (seldom needed)

    with suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return f"the user {uid}"


def _group(gid: int) -> str:
    import grp  # noqa: PLC0415  (seldom needed)

    with suppress(KeyError):
        return f"the group {grp.getgrgid(gid).gr_name}"
    return f"the group {gid}"
