"""How a user has bpftrace started as root, and nothing else: by sudo, which asks no second time."""

import os
import shutil
import subprocess
import sys

from mmaplock_bt import NAME, invocation
from mmaplock_bt.errors import TargetError

_words: list[str] = []  # none: bpftrace is started as who runs this process


def words() -> list[str]:
    """Returns what stands before a program that needs privilege; [] where nothing has to."""
    return list(_words)


def use_sudo() -> None:
    """From here on bpftrace is started by sudo, unless this is root. Raises TargetError.

    sudo may ask for a password now, on the terminal. Later on nobody could answer it.
    """
    if os.geteuid() == 0:
        return
    sudo = shutil.which("sudo", path=invocation.SUDO_FINDS)
    if sudo is None:
        raise TargetError("--sudo: there is no sudo here", "leave it out and run this as root")
    if not _may(sudo) and sys.stdin.isatty():
        subprocess.run([sudo, "-v"], check=False)
    if not _may(sudo):
        raise TargetError(
            "--sudo: sudo does not start a program for this user without a password",
            f"allow it in sudoers, or trace as root, the COMMAND still being yours: sudo "
            f"{NAME} run ...",
        )
    _words[:] = [sudo, "-n"]


def _may(sudo: str) -> bool:
    """Whether it starts something without asking."""
    return subprocess.run([sudo, "-n", "true"], check=False, capture_output=True).returncode == 0
