"""Minimal Debian roots, made once and kept: one suite's bpftrace beside the machine's own."""

import hashlib
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
# What a root consists of that apt would install unasked, as far as guests need it.
BARE = "base-files,base-passwd,coreutils,dash,grep,libc-bin,mount,sed,tar,util-linux"
# In a mount namespace of its own: nothing is left mounted however bpftrace ends, and exec keeps
# the pid that the tool knows.
WRAPPER = """\
#!/bin/sh
exec unshare --mount --propagation private sh -c '
for folder in proc sys dev tmp; do mount --rbind /$folder "$0/$folder" || exit 126; done
exec chroot "$0" /usr/bin/bpftrace "$@"' {root} "$@"
"""
# A root that is no mount point is in no list of mounts: what lies on it would not be trusted.
INSIDE = """\
mount --bind "$0" "$0" || exit 126
for folder in proc sys dev; do mount --rbind /$folder "$0/$folder" || exit 126; done
exec chroot "$0" "$@"
"""
# What a command in a root is given of the environment: nothing of this machine's.
ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8", "TERM": "dumb",
    "DEBIAN_FRONTEND": "noninteractive",
}  # fmt: skip


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


def foreign_root(suite: str, architecture: str) -> Path:
    """The same for a processor that this machine does not have: none of its programs is run."""
    folder = CACHE / "roots" / f"{suite}-{architecture}"
    return _made(folder, suite, "extract", f"bpftrace,python3,{BARE}", architecture)


def kernel(suite: str, flavour: str = "cloud-amd64") -> Path:
    """A suite's kernel, by default that for virtual machines, unpacked and not configured.

    With one for another processor comes its busybox.
    """
    architecture = flavour.rpartition("-")[2]
    name = suite if flavour == "cloud-amd64" else f"{suite}-{flavour}"
    packages = f"linux-image-{flavour}{',busybox-static' if architecture != 'amd64' else ''}"
    return _made(CACHE / "kernels" / name, suite, "extract", packages, architecture)


def headers(suite: str) -> Path:
    """A suite with make, a compiler and the headers of its kernel; of the same day as `kernel`."""
    return _made(CACHE / "headers" / suite, suite, "apt", "make,linux-headers-cloud-amd64")


def equipped(suite: str, packages: str) -> Path:
    """A suite with these packages and what they need, for what no other root is for."""
    digest = hashlib.sha256(packages.encode()).hexdigest()[:8]  # other packages, another root
    return _made(CACHE / "equipped" / f"{suite}-{digest}", suite, "apt", packages)


def inside(root: Path, *words: str) -> list[str]:
    """Returns the command line that runs words in a root, with this machine's /proc, /sys, /dev.

    In a mount namespace of its own: nothing is left mounted.
    """
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", INSIDE, str(root), *words]


def offer(root: Path, packages: list[Path]) -> None:
    """Makes packages a repository for a root's apt; which of them are needed is apt's to find."""
    offered = root / "srv/offered"
    offered.mkdir()
    for package in packages:
        shutil.copy(package, offered)
    (offered / "Packages").write_text("\n".join(map(_described, packages)))
    line = "deb [trusted=yes] file:/srv/offered ./\n"
    (root / "etc/apt/sources.list.d/offered.list").write_text(line)


def _described(package: Path) -> str:
    """A package's paragraph in a repository's index."""
    told = subprocess.run(["dpkg-deb", "--field", package], capture_output=True, text=True,
                          check=True).stdout  # fmt: skip
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    size = package.stat().st_size
    return f"{told}Filename: ./{package.name}\nSize: {size}\nSHA256: {digest}\n"


def _made(folder: Path, suite: str, variant: str, packages: str, architecture: str = "") -> Path:
    if folder.exists():
        return folder
    part = folder.with_suffix(f".{os.getpid()}")  # another run may be making the same
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        bootstrap(part, suite, variant, packages, architecture)
        if not folder.exists():
            part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def bootstrap(part: Path, suite: str, variant: str, packages: str, architecture: str = "") -> None:
    """Makes a root as a folder, or as an archive where the name ends in .tar.

    By default of the machine's own architecture.
    """
    chosen = [f"--architectures={architecture}"] if architecture else []
    subprocess.run(
        [
            "mmdebstrap", "--quiet", f"--variant={variant}", f"--include={packages}", "--mode=root",
            *chosen,
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
