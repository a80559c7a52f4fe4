"""What this machine offers: looked at or tried, never guessed from a version number."""

import gzip
import json
import os
import platform
import re
import shlex
import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mmaplock_bt.errors import TargetError
from mmaplock_bt.machine import distro, features, pid_namespace

TRACEFS = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
CONFIG = Path("/proc/config.gz")
REALTIME = Path("/sys/kernel/realtime")  # PREEMPT_RT
EVENT = "mmap_lock_released"
NO_COMMAND = "no command mends it"
# Bits of CapEff (include/uapi/linux/capability.h). bpftrace 0.25 and later asks for all four;
# the DAC ones open tracefs, which is root's.
CAPABILITIES = {"CAP_DAC_OVERRIDE": 1, "CAP_DAC_READ_SEARCH": 2, "CAP_PERFMON": 38, "CAP_BPF": 39}


@dataclass(frozen=True)
class Machine:
    """This machine; `bpftrace` is its version, `path` its binary.

    `facts` is what scripts are rendered for; the rest identifies the machine.
    """

    kernel: str
    arch: str
    cpus: int
    bpftrace: str
    path: str
    facts: dict[str, bool | str]


def probe(bpftrace: str = "bpftrace") -> Machine:
    """Looks at the machine; what bpftrace accepts is remembered from earlier runs.

    Raises TargetError with the command that mends what is missing.
    """
    privilege()
    # Distributions backport events and fields: the format file tells, the release does not.
    folder = tracepoints(tracefs())
    path = binary(bpftrace)
    number = version(path)
    accepted = features.outcomes(path)
    if not accepted["mm_owner"]:
        raise unable(path, number)
    return Machine(
        kernel=platform.release(),
        arch=platform.machine(),
        cpus=os.cpu_count() or 1,
        bpftrace=number,
        path=path,
        facts={
            "memcg_field": memcg_field(folder),
            "btf": features.BTF.exists(),
            **lock_events(tracefs()),
            "pid_namespace": not pid_namespace.is_initial(),
            **accepted,
        },
    )


def offline() -> Machine:
    """Returns a stand-in for rendering a script where nothing can be traced."""
    return Machine(
        platform.release(), platform.machine(), os.cpu_count() or 1, "unknown", "bpftrace", {}
    )


def privilege() -> str:
    """Returns 'root', or the names of the capabilities that replace it (bpftrace 0.25).

    Raises TargetError where neither is there.
    """
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
    """Returns this very command line, as root; -P: no module from the current folder."""
    return shlex.join(["sudo", sys.executable, "-P", "-m", "mmaplock_bt", *sys.argv[1:]])


def tracefs() -> Path:
    """Returns tracefs's mount point, one with mmap_lock events if any. Raises TargetError."""
    mounted = [path for path in TRACEFS if (path / "events").is_dir()]
    if not mounted:
        raise TargetError("tracefs is not mounted", "mount -t tracefs nodev /sys/kernel/tracing")
    return next((path for path in mounted if (path / "events/mmap_lock").is_dir()), mounted[0])


def tracepoints(root: Path) -> Path:
    """Returns the folder of the event mmap_lock_released below tracefs.

    Raises TargetError: the events came with 2b5067a8143e in Linux 5.11.
    """
    folder = root / "events/mmap_lock" / EVENT
    if not folder.is_dir():
        raise TargetError(
            f"Linux {platform.release()} has no mmap_lock tracepoints (they came with 5.11)",
            f"{NO_COMMAND}: boot Linux 5.11 or newer, built with CONFIG_TRACEPOINTS",
        )
    return folder


def memcg_field(folder: Path) -> str:
    """Returns the name of the events' cgroup field, or 'none'.

    It is memcg_path up to 6.13, memcg_id from 6.14 ("mm: mmap_lock: optimize mmap_lock
    tracepoints").
    """
    found = re.search(r"memcg_(?:id|path)", (folder / "format").read_text(encoding="utf-8"))
    return found[0] if found else "none"


def lock_events(root: Path) -> dict[str, bool]:
    """Tells which events of lock contention there are below tracefs.

    lock:contention_begin came with 5.19, contended_release (4f070ccb4dc4) with 7.2.
    """
    folder = root / "events/lock"
    return {
        "contention": (folder / "contention_begin").is_dir(),
        "contended_release": (folder / "contended_release").is_dir(),
    }


def hz() -> int | None:
    """Returns CONFIG_HZ; None where the kernel's configuration cannot be read."""
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
    """Returns bpftrace's path. Raises TargetError where it is not installed."""
    path = shutil.which(bpftrace)
    if path is None:
        raise TargetError(f"{bpftrace} is not installed", distro.install())
    return path


def version(path: str, *, fresh: bool = False) -> str:
    """Returns a bpftrace's version, like '0.23.2'; remembered unless `fresh`, as outcomes().

    Raises TargetError for another program.
    """
    with suppress(OSError, ValueError):
        memory = features.remembered(path, "version")
        known = json.loads(memory.read_text(encoding="utf-8"))
        if isinstance(known, str) and not fresh:
            return known
    number = _told_version(path)
    with suppress(OSError):  # no memory is only slower
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_text(json.dumps(number), encoding="utf-8")
    return number


def _told_version(path: str) -> str:
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
    """Returns the error that says why this bpftrace cannot trace at all."""
    said = features.refusal(path)
    if said is None:
        return TargetError(f"bpftrace {number} cannot read mm->owner on this kernel", mend_owner())
    if os.geteuid() != 0:
        return TargetError(f"bpftrace {number} does not run without root ({said})", with_sudo())
    mend = f"{distro.reinstall()}, or install bpftrace 0.17 or newer"
    return TargetError(f"bpftrace {number} does not run here ({said})", mend)


def mend_owner() -> str:
    """Returns what to do where mm->owner cannot be read."""
    if not features.BTF.exists():
        path = features.BTF
        return f"{NO_COMMAND}: boot a kernel built with CONFIG_DEBUG_INFO_BTF (there is no {path})"
    return "install bpftrace 0.17 or newer"
