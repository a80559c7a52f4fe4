"""What a child gives up before it works on what a stranger wrote."""

import ctypes
import os
import resource
from contextlib import suppress
from pathlib import Path

NOBODY = 65534
_CAPABILITY_VERSION_3 = 0x20080522  # include/uapi/linux/capability.h
_libc = ctypes.CDLL(None)  # now: who gives up has no files any more


def at_most(kind: int, most: int) -> None:
    """Sets a limit of resource(7); a lower one that holds already stays."""
    with suppress(ValueError):
        resource.setrlimit(kind, (most, most))


def size_bytes() -> int:
    """Returns how much address space this process has."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()


def become_nobody() -> None:
    """As root; from here on this process has no capability.

    In a user namespace without such a user, and in a container without CAP_SETUID, it stays who it
    is otherwise.
    """
    if os.geteuid() == 0:
        with suppress(OSError):
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
    _give_up_capabilities()


def _give_up_capabilities() -> None:
    """By capset(2), which who has none may call, too: three empty sets of 64 bits."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _libc.capset(header, (ctypes.c_uint32 * 6)())
