"""What this machine offers: looked at or tried, never guessed from a version number."""

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from mmaplock_bt.errors import TargetError

TRACEFS = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
EVENT = "mmap_lock_released"


@dataclass(frozen=True)
class Target:
    """`facts` is what a script was rendered for; the rest identifies the machine."""

    kernel: str
    arch: str
    cpus: int
    bpftrace: str
    path: str
    facts: dict[str, bool | str]


def probe(bpftrace: str = "bpftrace") -> Target:
    """Looks at the machine. Raises TargetError with the command that mends what is missing."""
    if os.geteuid() != 0:
        raise TargetError("tracing needs root: run it again with sudo")
    tracefs = _tracefs()
    path = shutil.which(bpftrace)
    if path is None:
        raise TargetError(f"{bpftrace} is not installed: apt-get install bpftrace (or dnf, zypper)")
    help_text = _output(path, "--help")
    return Target(
        kernel=platform.release(),
        arch=platform.machine(),
        cpus=os.cpu_count() or 1,
        bpftrace=_version(path),
        path=path,
        facts={
            "memcg_field": _memcg_field(tracefs),
            "btf": Path("/sys/kernel/btf/vmlinux").exists(),
            # Up to 0.22 -k reports failed map updates; from 0.23 that is the default.
            "helper_errors_flag": "helper returns an error (except read" in help_text,
        },
    )


def offline() -> Target:
    """A stand-in for rendering a script where nothing can be traced (not root, no bpftrace)."""
    return Target(
        platform.release(), platform.machine(), os.cpu_count() or 1, "unknown", "bpftrace", {}
    )


def _tracefs() -> Path:
    mounted = [path for path in TRACEFS if (path / "events").is_dir()]
    if not mounted:
        raise TargetError("tracefs is not mounted: mount -t tracefs nodev /sys/kernel/tracing")
    with_event = [path for path in mounted if (path / "events/mmap_lock" / EVENT).is_dir()]
    if not with_event:
        raise TargetError(
            f"Linux {platform.release()} has no mmap_lock tracepoints: they came with Linux 5.11 "
            "and need CONFIG_TRACING; boot a newer kernel"
        )
    return with_event[0]


def _memcg_field(tracefs: Path) -> str:
    """memcg_path up to 6.13, memcg_id from 6.14 (mm: mmap_lock: optimize mmap_lock tracepoints)."""
    text = (tracefs / "events/mmap_lock" / EVENT / "format").read_text(encoding="utf-8")
    found = re.search(r"memcg_(?:id|path)", text)
    return found[0] if found else "none"


def _version(path: str) -> str:
    text = _output(path, "--version").strip()
    found = re.match(r"bpftrace v?(\d+\.\d+\S*)", text)
    if found is None:
        raise TargetError(f"{path} --version says '{text[:60]}': this is not bpftrace")
    return found[1]


def _output(path: str, option: str) -> str:
    try:
        done = subprocess.run(
            [path, option], capture_output=True, timeout=20, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TargetError(f"{path} {option} does not answer: {error}") from error
    return (done.stdout + done.stderr).decode(errors="replace")
