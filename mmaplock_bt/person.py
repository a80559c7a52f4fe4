"""For whom root works: the user behind sudo, whose the traced command and every file are.

Only tracing needs root. Imports little: it is asked before the rest of the program is there.
"""

import os
import pwd
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from mmaplock_bt.errors import UsageError

# Of root's session, or about who became root: nothing of it is the user's.
_ROOTS = (
    *("SUDO_USER", "SUDO_UID", "SUDO_GID", "SUDO_COMMAND", "DOAS_USER", "PKEXEC_UID", "MAIL"),
    *("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"),
    *("DBUS_SESSION_BUS_ADDRESS", "SSH_AUTH_SOCK", "KRB5CCNAME", "XAUTHORITY", "BASH_ENV", "ENV"),
)


class Person:
    """A user of this machine, with the groups of the machine's lists."""

    def __init__(self, entry: pwd.struct_passwd) -> None:
        self.name, self.uid, self.gid = entry.pw_name, entry.pw_uid, entry.pw_gid
        self.groups = os.getgrouplist(self.name, self.gid)
        self.home, self.shell = entry.pw_dir, entry.pw_shell

    def environment(self, roots: Mapping[str, str]) -> dict[str, str]:
        """Returns root's environment as this user's: with what was handed on, like a CI's words."""
        kept = {name: value for name, value in roots.items() if name not in _ROOTS}
        own = {"HOME": self.home, "USER": self.name, "LOGNAME": self.name, "SHELL": self.shell}
        return kept | own


_served: list[Person] = []  # one, or none: then everything is done as who runs this process


def served() -> Person | None:
    """Returns for whom root works here; None where nobody was found or chosen."""
    return _served[0] if _served else None


def serve(name: str | None) -> None:
    """Chooses the user of this name; None: the one behind sudo or doas. Raises UsageError.

    Whoever is not root works for himself.
    """
    found = _behind() if name is None else _named(name)
    _served[:] = [found] if found and found.uid and os.geteuid() == 0 else []


def is_behind() -> bool:
    """Tells whether this is root behind whom another user is, be he known here or not."""
    uid = os.environ.get("SUDO_UID", "0")
    return os.geteuid() == 0 and (uid.strip() != "0" or "DOAS_USER" in os.environ)


def is_handed_on(variable: str) -> bool:
    """Tells whether root has it out of another user's environment, as by `sudo -E`."""
    return variable in os.environ and is_behind()


def _behind() -> Person | None:
    """Of sudo by the id, which no configuration leaves out; one without an entry is nobody."""
    try:
        if "SUDO_UID" in os.environ:
            return Person(pwd.getpwuid(int(os.environ["SUDO_UID"])))
        return Person(pwd.getpwnam(os.environ["DOAS_USER"]))
    except (KeyError, ValueError, OverflowError):
        return None


def _named(name: str) -> Person:
    try:
        found = Person(pwd.getpwnam(name))
    except (KeyError, ValueError) as error:
        raise UsageError(f"--user {name[:80]!r}: there is no such user on this machine") from error
    if os.geteuid() not in (0, found.uid):
        raise UsageError(f"--user {name}: only root may run a command as somebody else")
    return found


@contextmanager
def acting() -> Iterator[None]:
    """As the one who is served: files are his, and he reaches no others, whatever links he has.

    The kernel checks it. A block within a block changes nothing.
    """
    whom = served()
    if whom is None or os.geteuid() != 0:
        yield
        return
    group, groups = os.getegid(), os.getgroups()
    try:
        os.setgroups(whom.groups)
        os.setegid(whom.gid)
        os.seteuid(whom.uid)
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


def become() -> bool:
    """Is the one who is served from here on, without a way back; returns whether that is another.

    The kernel takes away the parent-death signal then (prctl(2)).
    """
    whom = served()
    if whom is None or os.geteuid() != 0:
        return False
    os.setgroups(whom.groups)
    os.setresgid(whom.gid, whom.gid, whom.gid)
    os.setresuid(whom.uid, whom.uid, whom.uid)
    return True


def environment() -> dict[str, str]:
    """Returns the environment of the one who is served."""
    whom = served()
    return dict(os.environ) if whom is None else whom.environment(os.environ)
