"""What this machine offers: looked at or tried, never guessed from a version number."""

import gzip
import os
import platform
import re
import shlex
import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mmaplock_bt.errors import TargetError, UsageError
from mmaplock_bt.machine import distro, features, pid_namespace

TRACEFS = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
MOUNTS = Path("/proc/mounts")
CONFIG = Path("/proc/config.gz")
REALTIME = Path("/sys/kernel/realtime")  # PREEMPT_RT
EVENT = "mmap_lock_released"
NO_COMMAND = "no command mends it"
# Bits of CapEff (include/uapi/linux/capability.h). bpftrace 0.25 and later asks for all four;
# the DAC ones open tracefs, which is root's.
CAPABILITIES = {"CAP_DAC_OVERRIDE": 1, "CAP_DAC_READ_SEARCH": 2, "CAP_PERFMON": 38, "CAP_BPF": 39}


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
    """Looks at the machine. Raises TargetError with the command that mends what is missing.

    What bpftrace accepts is remembered from earlier runs.
    """
    privilege()
    folder = tracepoints(tracefs())
    path = binary(bpftrace)
    number = version(path)
    accepted = features.outcomes(path)
    if not accepted["mm_owner"]:
        raise unable(path, number)
    return Target(
        kernel=platform.release(),
        arch=platform.machine(),
        cpus=os.cpu_count() or 1,
        bpftrace=number,
        path=path,
        facts={
            "memcg_field": memcg_field(folder),
            "btf": features.BTF.exists(),
            "pid_namespace": not pid_namespace.is_initial(),
            **accepted,
        },
    )


def offline() -> Target:
    """A stand-in for rendering a script where nothing can be traced (not root, no bpftrace)."""
    return Target(
        platform.release(), platform.machine(), os.cpu_count() or 1, "unknown", "bpftrace", {}
    )


def privilege() -> str:
    """'root', or the capabilities that stand for it (bpftrace takes them from 0.25)."""
    if os.geteuid() == 0:
        return "root"
    held = features.capabilities()
    missing = [name for name, bit in CAPABILITIES.items() if not held >> bit & 1]
    if missing:
        every = ", ".join(CAPABILITIES)
        found = f"tracing needs root, or with bpftrace 0.25 or newer {every}"
        raise TargetError(f"{found} (missing: {', '.join(missing)})", with_sudo())
    return ", ".join(CAPABILITIES)


def with_sudo() -> str:
    """This very command as root, whatever sudo's PATH is."""
    return shlex.join(["sudo", sys.executable, "-m", "mmaplock_bt", *sys.argv[1:]])


def tracefs() -> Path:
    mounted = [path for path in TRACEFS if (path / "events").is_dir()]
    if not mounted:
        raise TargetError("tracefs is not mounted", "mount -t tracefs nodev /sys/kernel/tracing")
    return next((path for path in mounted if (path / "events/mmap_lock").is_dir()), mounted[0])


def tracepoints(root: Path) -> Path:
    """The folder of the released event. They came with 2b5067a8143e in Linux 5.11."""
    folder = root / "events/mmap_lock" / EVENT
    if not folder.is_dir():
        raise TargetError(
            f"Linux {platform.release()} has no mmap_lock tracepoints (they came with 5.11)",
            f"{NO_COMMAND}: boot Linux 5.11 or newer, built with CONFIG_TRACEPOINTS",
        )
    return folder


def memcg_field(folder: Path) -> str:
    """memcg_path up to 6.13, memcg_id from 6.14 (mm: mmap_lock: optimize mmap_lock tracepoints)."""
    found = re.search(r"memcg_(?:id|path)", (folder / "format").read_text(encoding="utf-8"))
    return found[0] if found else "none"


def cgroup_hierarchy() -> Path | None:
    """Where a memory cgroup's id is the inode of a folder: v1's mount of `memory`, else v2's."""
    unified = None
    for line in MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines():
        _, folder, kind, options, *_ = line.split(" ")
        if kind == "cgroup" and "memory" in options.split(","):
            return Path(folder)
        if kind == "cgroup2":
            unified = unified or Path(folder)
    return unified


def cgroup_id(path: str) -> int:
    """A cgroup's id, the inode number of its directory (kernfs, 64 bits), from its path or mount.

    Raises UsageError when there is none.
    """
    root = cgroup_hierarchy()
    if root is None:
        raise UsageError(f"--cgroup {path}: no cgroup hierarchy is mounted here")
    for candidate in (root / path.lstrip("/"), Path(path)):
        if candidate.is_dir() and candidate.is_relative_to(root):
            return candidate.stat().st_ino
    raise UsageError(f"--cgroup {path}: no such cgroup under {root} (see /proc/PID/cgroup)")


def hz() -> int | None:
    """CONFIG_HZ, where the kernel's configuration can be read."""
    with suppress(OSError):
        text = gzip.decompress(CONFIG.read_bytes()).decode()
        return _hz(text)
    return _hz(_text(Path(f"/boot/config-{platform.release()}")))


def _hz(config: str) -> int | None:
    found = re.search(r"^CONFIG_HZ=(\d+)$", config, re.MULTILINE)
    return int(found[1]) if found else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def binary(bpftrace: str) -> str:
    path = shutil.which(bpftrace)
    if path is None:
        raise TargetError(f"{bpftrace} is not installed", distro.install())
    return path


def version(path: str) -> str:
    status, text = features.output(path, "--version")
    found = re.match(r"bpftrace v?(\d+\.\d+\S*)", text.strip())
    if found is None:
        said = features.last_words(text)[-60:]
        raise TargetError(
            f"{path} --version says '{said}' (status {status}), so it is not bpftrace",
            distro.reinstall(),
        )
    return found[1]


def unable(path: str, number: str) -> TargetError:
    """Why this bpftrace cannot trace at all."""
    said = features.refusal(path)
    if said is None:
        return TargetError(f"bpftrace {number} cannot read mm->owner on this kernel", mend_owner())
    if os.geteuid() != 0:
        return TargetError(f"bpftrace {number} does not run without root ({said})", with_sudo())
    mend = f"{distro.reinstall()}, or install bpftrace 0.17 or newer"
    return TargetError(f"bpftrace {number} does not run here ({said})", mend)


def mend_owner() -> str:
    if not features.BTF.exists():
        path = features.BTF
        return f"{NO_COMMAND}: boot a kernel built with CONFIG_DEBUG_INFO_BTF (there is no {path})"
    return "install bpftrace 0.17 or newer"
