"""Minimal Debian roots, made once and kept: one suite's bpftrace beside the machine's own."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from mmaplock_bt import resources

CACHE = resources.cache()
TIMEOUT_S = 600
SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
# In a mount namespace of its own: nothing is left mounted however bpftrace ends, and exec keeps
# the pid that the tool knows.
WRAPPER = """\
#!/bin/sh
exec unshare --mount --propagation private sh -c '
for folder in proc sys dev tmp; do mount --rbind /$folder "$0/$folder" || exit 126; done
exec chroot "$0" /usr/bin/bpftrace "$@"' {root} "$@"
"""


def mirror() -> str:
    """The Debian mirror that this machine already uses."""
    for source in filter(Path.exists, SOURCES):
        found = re.search(r"^(?:URIs:|deb(?: \[.*\])?) *(\S+)", source.read_text(), re.MULTILINE)
        if found:
            return found[1]
    raise SystemExit("no Debian mirror found in apt's sources")


def root(suite: str, packages: str = "bpftrace,python3") -> Path:
    """A suite's bpftrace and Python, unpacked and configured; made on first use (about 30 s)."""
    return _made(CACHE / "roots" / suite, suite, "apt", packages)


def kernel(suite: str) -> Path:
    """A suite's kernel for virtual machines, unpacked and not configured."""
    return _made(CACHE / "kernels" / suite, suite, "extract", "linux-image-cloud-amd64")


def headers(suite: str) -> Path:
    """A suite with make, a compiler and the headers of its kernel; of the same day as `kernel`."""
    return _made(CACHE / "headers" / suite, suite, "apt", "make,linux-headers-cloud-amd64")


def _made(folder: Path, suite: str, variant: str, packages: str) -> Path:
    if folder.exists():
        return folder
    part = folder.with_suffix(f".{os.getpid()}")  # another run may be making the same
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        _bootstrap(part, suite, variant, packages)
        if not folder.exists():
            part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def _bootstrap(part: Path, suite: str, variant: str, packages: str) -> None:
    subprocess.run(
        [
            "mmdebstrap", "--quiet", f"--variant={variant}", f"--include={packages}", "--mode=root",
            '--aptopt=Acquire::Check-Valid-Until "false"',  # a mirror may lag behind
            suite, str(part), f"deb {mirror()} {suite} main",
        ],
        check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True,
        timeout=TIMEOUT_S,
    )  # fmt: skip


def bpftrace(suite: str) -> Path:
    """A program that is this suite's bpftrace, run on this machine's kernel."""
    wrapper = CACHE / "roots" / f"bpftrace-{suite}"
    text = WRAPPER.format(root=root(suite))
    if not wrapper.exists() or wrapper.read_text() != text:
        wrapper.write_text(text)
        wrapper.chmod(0o755)
    return wrapper
