"""What this machine offers: looked at or tried, never guessed from a version number."""

import gzip
import os
import platform
import re
import shlex
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mmaplock_bt import invocation
from mmaplock_bt.errors import TargetError
from mmaplock_bt.escaping import shown
from mmaplock_bt.machine import (
    bpf_call,
    cgroups,
    distro,
    features,
    pid_namespace,
    private_folder,
    raising,
)
from mmaplock_bt.resources import is_folder
from mmaplock_bt.units import how_ended

TRACEFS = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
CONFIG = Path("/proc/config.gz")
REALTIME = Path("/sys/kernel/realtime")  # PREEMPT_RT
EVENT = "mmap_lock_released"
TRACEFS_ENGINE = "tracefs"  # in the facts of a machine where it traces, in bpftrace's stead
NEEDED = "0.17"  # of bpftrace: before, libbpf below 1.0 reads no newer kernel's BTF
_VERSION = re.compile(r"\d{1,6}\.\d{1,6}[\w.+~-]{0,80}", re.ASCII)
NO_COMMAND = "no command mends it"
# Bits of CapEff (include/uapi/linux/capability.h). bpftrace 0.25 and later asks for all four;
# the DAC ones open tracefs, which is root's.
CAPABILITIES = {"CAP_DAC_OVERRIDE": 1, "CAP_DAC_READ_SEARCH": 2, "CAP_PERFMON": 38, "CAP_BPF": 39}
# What bpf(2) and perf_event_open(2) ask of root, too (bpf_capable(), perfmon_capable()).
# CAP_SYS_ADMIN is as good; locked memory (CAP_SYS_RESOURCE) is no longer asked for from 5.11 on.
ROOTS = ("CAP_BPF", "CAP_PERFMON")
SYS_ADMIN = 21
INITIAL_USERS = 0xEFFFFFFD  # PROC_USER_INIT_INO, include/linux/proc_ns.h
USERS = Path("/proc/self/ns/user")
_IN_A_CONTAINER = (
    "start the container with --privileged, or with --cap-add {} and tracefs; or run it on the "
    "machine itself"
)
IN_A_CONTAINER = _IN_A_CONTAINER.format("SYS_ADMIN")
BY_CAPABILITIES = _IN_A_CONTAINER.format("BPF,PERFMON,SYSLOG,SYS_PTRACE")


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
    if raising.words():
        return _probe_raised(bpftrace)
    privilege()
    # Distributions backport events and fields: the format file tells, the release does not.
    folder = tracepoints(tracefs())
    path = binary(bpftrace)
    return _found(path, memcg_field(folder), lock_events(tracefs()))


def _probe_raised(bpftrace: str) -> Machine:
    """Of what is root's in tracefs, bpftrace tells."""
    if not pid_namespace.is_initial():
        mend = "run it as root, or in the machine's namespace (--pid=host)"
        raise TargetError("--sudo does not know the machine's process ids in a PID namespace", mend)
    path = binary(bpftrace)
    event = f"tracepoint:mmap_lock:{EVENT}"
    status, text = features.output(path, "-lv", event)
    if status or EVENT not in text:
        found = f"bpftrace finds no {event} ({features.last_words(text)})"
        raise TargetError(found, "mount -t tracefs nodev /sys/kernel/tracing, as root")
    _, locks = features.output(path, "-l", "tracepoint:lock:contend*")
    field = re.search(r"memcg_(?:id|path)", text)
    events = {
        "contention": "contention_begin" in locks,
        "contended_release": "contended_release" in locks,
    }
    return _found(path, field[0] if field else "none", events)


def _found(path: str, field: str, events: dict[str, bool]) -> Machine:
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
            "memcg_field": field,
            "btf": features.BTF.exists(),
            **events,
            "pid_namespace": not pid_namespace.is_initial(),
            **accepted,
            # v2's cgroups are told by themselves, see is_unified().
            **({"memory_controller": ""} if cgroups.is_unified() else {}),
        },
    )


def by_tracefs(why: str) -> Machine:
    """Looks at the machine for the engine over tracefs, which is taken for the reason given.

    Raises TargetError with the command that mends what is missing.
    """
    if os.geteuid() != 0:
        raise TargetError("the tracefs engine needs root: tracefs is root's", invocation.again())
    if not pid_namespace.is_initial():
        mend = "run it in the machine's namespace (--pid=host), or trace with bpftrace"
        raise TargetError("the tracefs engine cannot tell processes from a PID namespace", mend)
    root = tracefs()
    field = memcg_field(tracepoints(root))
    return Machine(
        kernel=platform.release(),
        arch=platform.machine(),
        cpus=os.cpu_count() or 1,
        bpftrace="none",
        path=TRACEFS_ENGINE,
        facts={
            "engine": TRACEFS_ENGINE,
            "engine_because": why,
            "memcg_field": field,
            "btf": features.BTF.exists(),
            "pid_namespace": False,
            **lock_events(root),
            **features.kernel_functions(),
        },
    )


def offline() -> Machine:
    """Returns a stand-in for rendering a script where nothing can be traced."""
    return Machine(
        platform.release(), platform.machine(), os.cpu_count() or 1, "unknown", "bpftrace", {}
    )


def privilege() -> str:
    """Returns 'root', or the names of the capabilities that replace it (bpftrace 0.25).

    Raises TargetError where neither is there; root of a container has not all that root has.
    """
    if os.geteuid() == 0:
        return _root()
    missing = _missing(CAPABILITIES)
    if missing:
        every = ", ".join(CAPABILITIES)
        found = f"tracing needs root, or with bpftrace 0.25 or newer {every}"
        raise TargetError(f"{found} (missing: {', '.join(missing)})", invocation.again())
    return ", ".join(CAPABILITIES)


def is_all_of_root() -> bool:
    """Tells whether CAP_SYS_ADMIN is held: bpftrace 0.17, and the count of what tracing costs."""
    return bool(features.capabilities() >> SYS_ADMIN & 1)


def _root() -> str:
    """Raises TargetError for one that the kernel gives no BPF."""
    if USERS.stat().st_ino != INITIAL_USERS:
        found = "root of a user namespace only: the kernel lets it load no BPF program"
        raise TargetError(found, "run it as root of the machine, not in a rootless container")
    missing = "" if is_all_of_root() else ", ".join(_missing(ROOTS))
    if missing:
        found = f"root without CAP_SYS_ADMIN and without {missing}: the kernel lets it load no BPF"
        raise TargetError(f"{found} program", BY_CAPABILITIES)
    _check_seccomp()
    return "root" if is_all_of_root() else f"root, by {' and '.join(ROOTS)}"


def _check_seccomp() -> None:
    """Raises TargetError where a filter of system calls is in the way.

    Podman's lets both pass for CAP_SYS_ADMIN only (containers/container-libs#424 changes that);
    Docker's for CAP_BPF and CAP_PERFMON.
    """
    refused = bpf_call.refused() if features.is_filtered() else []
    if refused:
        found = f"the container's seccomp profile refuses {' and '.join(refused)}"
        mend = "start it with --security-opt seccomp=unconfined, or with a profile that allows them"
        raise TargetError(found, mend)


def _missing(names: Iterable[str]) -> list[str]:
    held = features.capabilities()
    return [name for name in names if not held >> CAPABILITIES[name] & 1]


def tracefs() -> Path:
    """Returns tracefs's mount point, one with mmap_lock events if any. Raises TargetError."""
    mounted = [path for path in TRACEFS if is_folder(path / "events")]
    if not mounted:
        raise _no_tracefs()
    return next((path for path in mounted if is_folder(path / "events/mmap_lock")), mounted[0])


def _no_tracefs() -> TargetError:
    for path in TRACEFS:
        try:
            (path / "events").stat()
        except PermissionError:
            found = f"{path} is root's, so that its events are not seen"
            return TargetError(found, invocation.again())
        except OSError:
            continue
    return TargetError("tracefs is not mounted", "mount -t tracefs nodev /sys/kernel/tracing")


def tracepoints(root: Path) -> Path:
    """Returns the folder of the event mmap_lock_released below tracefs.

    Raises TargetError: the events came with 2b5067a8143e in Linux 5.11.
    """
    folder = root / "events/mmap_lock" / EVENT
    if not is_folder(folder):
        raise TargetError(
            f"Linux {platform.release()} has no mmap_lock tracepoints (they came with 5.11)",
            f"{NO_COMMAND}: boot Linux 5.11 or newer, built with CONFIG_TRACEPOINTS",
        )
    return folder


def memcg_field(folder: Path) -> str:
    """Returns the name of the events' cgroup field, or 'none'.

    It is memcg_path up to 6.13, memcg_id from 6.14 ("mm: mmap_lock: optimize mmap_lock
    tracepoints"). Raises TargetError where it is not to be read.
    """
    try:
        described = (folder / "format").read_text(encoding="utf-8")
    except OSError as error:
        found = f"cannot read {folder}/format: {error.strerror}"
        raise TargetError(found, invocation.again()) from error
    field = re.search(r"memcg_(?:id|path)", described)
    return field[0] if field else "none"


def lock_events(root: Path) -> dict[str, bool]:
    """Tells which events of lock contention there are below tracefs.

    lock:contention_begin came with 5.19, contended_release (4f070ccb4dc4) with 7.2.
    """
    folder = root / "events/lock"
    return {
        "contention": is_folder(folder / "contention_begin"),
        "contended_release": is_folder(folder / "contended_release"),
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
    """Returns bpftrace's path. Raises TargetError where it is not installed.

    And where PATH leads to the current folder or, for root, to what others may have put there:
    such a one must be named by its path.
    """
    path = shutil.which(bpftrace)
    if path is None:
        raise TargetError(f"{bpftrace} is not installed", distro.install())
    if "/" in bpftrace:
        return path
    whole = os.path.abspath(path)  # noqa: PTH100
    mend = f"name it by --bpftrace {shlex.quote(whole)} if it is meant, else mend PATH"
    if path != whole:
        raise TargetError(f"PATH leads to the current folder's {shown(path)}", mend)
    if os.geteuid() == 0 and not all(map(_is_roots, (path, os.path.realpath(path)))):
        raise TargetError(f"PATH leads to {shown(path)}, which others than root may change", mend)
    return path


def _is_roots(path: str) -> bool:
    found = Path(path).stat()
    return private_folder.is_ours(found) and private_folder.is_private(str(Path(path).parent))


def version(path: str, *, fresh: bool = False) -> str:
    """Returns a bpftrace's version, like '0.23.2'; remembered unless `fresh`, as outcomes().

    Raises TargetError for another program.
    """
    known = None if fresh else features.recalled(path, "version")
    if isinstance(known, str) and _VERSION.fullmatch(known):
        return known
    number = _told_version(path)
    features.remember(path, "version", number)
    return number


def _told_version(path: str) -> str:
    status, text = features.output(path, "--version")
    # In a line of its own: sudo may say before that it cannot resolve this host's name.
    found = re.search(rf"^\s*bpftrace v?({_VERSION.pattern})(?!\S)", text, re.ASCII | re.MULTILINE)
    if found is None:
        said = features.last_words(text)[-60:]
        raise TargetError(
            f"{path} --version says '{said}' ({how_ended(status)}), so it is not bpftrace",
            distro.reinstall(),
        )
    return found[1]


def unable(path: str, number: str) -> TargetError:
    """Returns the error that says why this bpftrace cannot trace at all."""
    said = features.refusal(path)
    if os.geteuid() == 0 and not is_all_of_root():
        # 0.17 looks for the kernel's BTF by a bpf(2) that wants it; 0.23 reads the file.
        found = f"bpftrace {number} cannot trace for root without CAP_SYS_ADMIN"
        return TargetError(found, f"{IN_A_CONTAINER}; or install bpftrace 0.23 or newer")
    if said is None:
        return TargetError(f"bpftrace {number} cannot read mm->owner on this kernel", mend_owner())
    if os.geteuid() != 0:
        return TargetError(
            f"bpftrace {number} does not run without root ({said})", invocation.again()
        )
    is_old = distro.numbers(number) < distro.numbers(NEEDED)
    mend = _needed() if is_old else f"{distro.reinstall()}, or {_needed()}"
    return TargetError(f"bpftrace {number} does not run here ({said})", mend)


def mend_owner() -> str:
    """Returns what to do where mm->owner cannot be read."""
    if not features.BTF.exists():
        path = features.BTF
        return f"{NO_COMMAND}: boot a kernel built with CONFIG_DEBUG_INFO_BTF (there is no {path})"
    return _needed()


def _needed() -> str:
    return f"install bpftrace {NEEDED} or newer: {distro.upgrade(NEEDED)}"
