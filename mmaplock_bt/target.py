"""What this machine offers: looked at or tried, never guessed from a version number."""

import os
import platform
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from mmaplock_bt import trials
from mmaplock_bt.errors import TargetError

TRACEFS = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
STATUS = Path("/proc/self/status")
EVENT = "mmap_lock_released"
# Bits of CapEff (include/uapi/linux/capability.h).
CAPABILITIES = {"CAP_DAC_OVERRIDE": 1, "CAP_DAC_READ_SEARCH": 2, "CAP_PERFMON": 38, "CAP_BPF": 39}
INSTALL = "apt-get install bpftrace (or dnf, zypper, pacman)"


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
    accepted = trials.outcomes(path)
    if not accepted["mm_owner"]:
        raise TargetError(f"bpftrace {number} cannot read mm->owner on this kernel", mend_owner())
    return Target(
        kernel=platform.release(),
        arch=platform.machine(),
        cpus=os.cpu_count() or 1,
        bpftrace=number,
        path=path,
        facts={"memcg_field": memcg_field(folder), "btf": trials.BTF.exists(), **accepted},
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
    found = re.search(r"^CapEff:\s*([0-9a-f]+)", STATUS.read_text(encoding="utf-8"), re.MULTILINE)
    held = int(found[1], 16) if found else 0
    missing = [name for name, bit in CAPABILITIES.items() if not held >> bit & 1]
    if missing:
        raise TargetError("tracing needs root", "run it again with sudo")
    return ", ".join(CAPABILITIES)


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
            "boot Linux 5.11 or newer, built with CONFIG_TRACEPOINTS",
        )
    return folder


def memcg_field(folder: Path) -> str:
    """memcg_path up to 6.13, memcg_id from 6.14 (mm: mmap_lock: optimize mmap_lock tracepoints)."""
    found = re.search(r"memcg_(?:id|path)", (folder / "format").read_text(encoding="utf-8"))
    return found[0] if found else "none"


def binary(bpftrace: str) -> str:
    path = shutil.which(bpftrace)
    if path is None:
        raise TargetError(f"{bpftrace} is not installed", INSTALL)
    return path


def version(path: str) -> str:
    status, text = trials.output(path, "--version")
    found = re.match(r"bpftrace v?(\d+\.\d+\S*)", text.strip())
    if found is None:
        said = text.strip().splitlines()[-1:] or ["nothing"]
        raise TargetError(
            f"{path} --version says '{said[0][:60]}' (status {status}), so it is not bpftrace",
            trials.REINSTALL,
        )
    return found[1]


def mend_owner() -> str:
    if not trials.BTF.exists():
        return f"boot a kernel built with CONFIG_DEBUG_INFO_BTF (there is no {trials.BTF})"
    return "install bpftrace 0.17 or newer"
