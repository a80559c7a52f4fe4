"""The distribution's own commands for installing bpftrace, by os-release."""

import os
import platform
import re
import subprocess

MANAGERS = {  # by ID, else by one of ID_LIKE: install, upgrade, reinstall
    "debian": ("apt-get install", "apt-get install", "apt-get install --reinstall"),
    "fedora": ("dnf install", "dnf upgrade", "dnf reinstall"),
    "suse": ("zypper install", "zypper update", "zypper install --force"),
    "arch": ("pacman -S", "pacman -Syu", "pacman -S"),
    "alpine": ("apk add", "apk upgrade", "apk fix"),
}
ALIASES = {"ubuntu": "debian", "rhel": "fedora", "centos": "fedora", "opensuse": "suse"}
UNKNOWN = "no command is known for this distribution: name another bpftrace with --bpftrace PATH"
# Where the release itself has nothing newer. On Debian: Debian 13's bpftrace 0.23 in a root of its
# own. exec keeps the process id; the mounts end with the process.
BESIDE = (
    "apt-get install mmdebstrap debian-archive-keyring"
    " && mmdebstrap --variant=apt --include=bpftrace trixie /opt/trixie"
    " && printf '%s\\n' '#!/bin/sh'"
    " 'cd /opt/trixie && exec unshare -m sh -c"
    ' "for f in proc sys dev tmp; do mount --rbind /\\$f \\$f; done;'
    ' exec chroot . bpftrace \\"\\$@\\"" sh "$@"\''
    " > /usr/local/bin/bpftrace-trixie && chmod +x /usr/local/bin/bpftrace-trixie"
    " && export MMAPLOCK_BPFTRACE=/usr/local/bin/bpftrace-trixie"
)
# On Ubuntu, whose debian-archive-keyring need not know Debian 13's keys (22.04's is older): the
# project's own build. It mounts itself by FUSE, and is named after the processor from 0.27 on
# (bpftrace#5213).
APPIMAGE = (
    "apt-get install curl fuse3"
    " && curl -fLo /usr/local/bin/bpftrace-0.27"
    ' "https://github.com/bpftrace/bpftrace/releases/download/v0.27.0/bpftrace-$(uname -m)"'
    " && chmod +x /usr/local/bin/bpftrace-0.27"
    " && export MMAPLOCK_BPFTRACE=/usr/local/bin/bpftrace-0.27"
)


def install() -> str:
    """Returns the command that installs bpftrace, or a sentence where none is known."""
    return _command(0)


def reinstall() -> str:
    """Returns the command that installs bpftrace afresh, or a sentence."""
    return _command(2)


def upgrade(release: str) -> str:
    """Returns the command that brings bpftrace to `release`, like '0.20', or newer."""
    if _family() == "debian" and numbers(_candidate()) < numbers(release):
        return APPIMAGE if "ubuntu" in _names() else BESIDE
    return _command(1)


def _command(which: int) -> str:
    family = _family()
    return f"{MANAGERS[family][which]} bpftrace" if family else UNKNOWN


def _names() -> list[str]:
    """This distribution's, then those that it is like, nearest first."""
    try:
        found = platform.freedesktop_os_release()
    except OSError:
        return []
    return [found.get("ID", ""), *found.get("ID_LIKE", "").split()]


def _family() -> str | None:
    known = [ALIASES.get(name.partition("-")[0], name.partition("-")[0]) for name in _names()]
    return next((name for name in known if name in MANAGERS), None)


def _candidate() -> str:
    """The version that apt would install; '' when it cannot say."""
    try:
        told = subprocess.run(
            ["apt-cache", "policy", "bpftrace"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    found = re.search(r"Candidate: (\d\S*)", told)
    return found[1] if found else ""


def numbers(version: str) -> tuple[int, ...]:
    """Returns the first two numbers of a version: '0.23.2-1' -> (0, 23)."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])
