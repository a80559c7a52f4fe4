"""doctor: what this machine offers, a checklist with the consequences and remedies."""

import argparse
import os
import platform
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.text import Text

from mmaplock_bt import invocation, standard_streams
from mmaplock_bt.commands import colors, engines
from mmaplock_bt.commands.output import dump
from mmaplock_bt.errors import TargetError
from mmaplock_bt.escaping import safe
from mmaplock_bt.machine import cgroups, distro, features, inventory, pid_namespace
from mmaplock_bt.machine.inventory import NO_COMMAND
from mmaplock_bt.renderers import console
from mmaplock_bt.units import counted

WITHOUT = "bpftrace cannot trace; tracefs does"
STYLES = {"ok": "green", "limited": "yellow", "missing": "bold red"}


@dataclass(frozen=True)
class Check:
    """A line of the list; `state` is ok, limited (works, but) or missing (cannot trace)."""

    name: str
    state: str
    found: str
    consequence: str = ""
    mend: str = ""


def main(arguments: argparse.Namespace) -> int:
    """Prints the checklist; returns 3 where this machine cannot trace, else 0."""
    checks = list(_checks(arguments.bpftrace, fresh=arguments.fresh))
    checks = _with_engine(checks, may_do_without="bpftrace" not in arguments.given)
    missing = any(check.state == "missing" for check in checks)
    if arguments.json:
        dump({"schema": 1, "can_trace": not missing, "checks": [asdict(check) for check in checks]})
    else:
        _show(checks, color=colors.wanted(arguments.color, sys.stdout))
    return TargetError.exit_code if missing else 0


def _checks(bpftrace: str, *, fresh: bool) -> Iterator[Check]:
    """Each fact by itself: one that is missing hides none of the others."""
    field = ""
    yield _privilege()
    yield (root := _needed("tracefs", lambda: str(inventory.tracefs())))
    if root.state == "ok":
        yield (
            events := _needed("tracepoints", lambda: str(inventory.tracepoints(Path(root.found))))
        )
        if events.state == "ok":
            field = inventory.memcg_field(Path(events.found))
            yield from _fields(field)
    yield _btf()
    yield _symbols()
    yield _namespace()
    yield from _kernel()
    yield _cgroups()
    yield _hand_off()
    yield _channel()
    yield (path := _needed("bpftrace", lambda: inventory.binary(bpftrace)))
    if path.state == "ok":
        yield (number := _needed("version", lambda: inventory.version(path.found, fresh=True)))
        if number.state == "ok":
            yield from _accepted(path.found, number.found, field, fresh=fresh)


def _with_engine(checks: list[Check], *, may_do_without: bool) -> list[Check]:
    """The list with the engine that a run would take; without bpftrace tracefs may do."""
    missing = [check for check in checks if check.state == "missing"]
    if not missing:
        return [*checks, Check("engine", "ok", "bpftrace")]
    if not may_do_without or any(check.name == "channel" for check in missing):
        return checks
    try:
        engines.by_tracefs(missing[0].found)
    except TargetError:
        return checks
    so = "some profiles are not served, owners are told where a stack shows them: see --engine"
    rest = [replace(one, state="limited", consequence=WITHOUT) if one in missing else one
            for one in checks]  # fmt: skip
    return [*rest, Check("engine", "ok", f"tracefs, because {missing[0].found}", so)]


def _needed(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, "ok", look())
    except TargetError as error:
        return Check(name, "missing", error.found, "nothing can be traced", error.mend)


def _privilege() -> Check:
    check = _needed("privilege", inventory.privilege)
    if check.state != "ok" or inventory.is_all_of_root():
        return check
    return Check(
        "privilege",
        "limited",
        f"{check.found}, without CAP_SYS_ADMIN",
        "what tracing costs is not counted; bpftrace 0.17 cannot trace at all",
        inventory.IN_A_CONTAINER if os.geteuid() == 0 else invocation.again(),
    )


def _fields(field: str) -> Iterator[Check]:
    if field == "memcg_path":
        yield Check(
            "event fields",
            "limited",
            f"{field} (kernels before 6.14)",
            "while tracing, every event walks the cgroup path of its process: a higher overhead",
            f"{NO_COMMAND}: boot Linux 6.14 or newer where that matters",
        )
    else:
        yield Check("event fields", "ok", field)
        if features.kernel_functions()["tracepoint_srcu"]:
            yield Check(
                "raw tracepoints",
                "limited",
                "their programs can be preempted on this kernel, which drops events",
                "tracepoint: is used, which costs about 80 ns more per event",
            )


def _namespace() -> Check:
    if pid_namespace.is_initial():
        return Check("process ids", "ok", "the machine's own")
    return Check(
        "process ids",
        "limited",
        "this is a PID namespace",
        "reports count processes as the machine does; holders' stacks and user frames are not read",
        "run it with the machine's PID namespace (docker run --pid=host, hostPID: true)",
    )


def _btf() -> Check:
    if features.BTF.exists():
        return Check("BTF", "ok", str(features.BTF))
    return Check(
        "BTF", "limited", f"no {features.BTF}", "owners may be unreadable", inventory.mend_owner()
    )


def _symbols() -> Check:
    if not features.hides_symbols():
        return Check("kernel symbols", "ok", str(features.KALLSYMS))
    return Check(
        "kernel symbols",
        "limited",
        f"{features.KALLSYMS} hides the addresses",
        "stacks are numbers, causes are unknown, and bpftrace is so slow with them that it loses "
        "events",
        "give the container CAP_SYSLOG, too (--cap-add SYSLOG)"
        if os.geteuid() == 0
        else invocation.again(),
    )


def _kernel() -> Iterator[Check]:
    functions = features.kernel_functions()
    if functions["per_vma_locks"]:
        yield Check(
            "page faults",
            "limited",
            "this kernel has per-VMA locks (6.4 and newer)",
            "most page faults bypass mmap_lock: they are neither counted nor delayed by it",
            f"{NO_COMMAND}: it is how the kernel works",
        )
    else:
        yield Check("page faults", "ok", "take mmap_lock")
    if functions["lockless_maps"]:
        yield Check("user frames", "ok", "/proc/PID/maps is read without mmap_lock")
    else:
        yield Check(
            "user frames",
            "limited",
            "reading /proc/PID/maps takes mmap_lock (before 6.17)",
            "the tool does not read it: user frames stay addresses",
            f"{NO_COMMAND}: boot Linux 6.17 or newer where that matters",
        )


def _cgroups() -> Check:
    folder = cgroups.hierarchy()
    if folder is not None and not cgroups.is_whole(folder):
        found = f"{folder} is only this container's part of them"
        so = "others' cgroups are told by their ids, and neither --container nor --unit finds one"
        mend = "mount the machine's: -v /sys/fs/cgroup:/sys/fs/cgroup:ro, or a hostPath"
        return Check("memory cgroups", "limited", found, so, mend)
    if folder is not None:
        return Check("memory cgroups", "ok", f"memcg ids are inodes under {folder}")
    found = "no memory controller is mounted"
    so = "an event's memcg id has no path"
    mend = "mkdir -p /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup"
    return Check("memory cgroups", "limited", found, so, mend)


def _hand_off() -> Check:
    """After how long a waiting writer can no longer be overtaken.

    That is RWSEM_WAIT_TIMEOUT, DIV_ROUND_UP(HZ, 250) jiffies (kernel/locking/rwsem.c).
    """
    hz, cpus = inventory.hz(), counted(os.cpu_count() or 1, "CPU")
    if inventory.REALTIME.exists():
        so = "writers are never handed the lock: they can be overtaken without end"
        return Check(
            "hand-off", "limited", f"{cpus}, PREEMPT_RT", so, f"{NO_COMMAND}: boot another"
        )
    if hz is None:
        so = "where HZ is below 250, writer-starvation's 4 ms are less than the hand-off period"
        mend = "mmaplock-bt run writer-starvation --set threshold=10ms"
        return Check("hand-off", "limited", f"{cpus}, HZ unknown", so, mend)
    period_ms = -(-hz // 250) * 1000 // hz
    found = f"{cpus}, HZ {hz}: a writer that waited {period_ms} ms is handed the lock"
    if period_ms <= 4:
        return Check("hand-off", "ok", found)
    so = f"writer-starvation's threshold of 4 ms is below the {period_ms} ms that are normal here"
    mend = f"mmaplock-bt run writer-starvation --set threshold={period_ms}ms"
    return Check("hand-off", "limited", found, so, mend)


def _channel() -> Check:
    """The terminal that connects bpftrace with the tool, and /proc, by which it opens the pipe."""
    try:
        for end in os.openpty():
            os.close(end)
        Path("/proc/self/fd/0").stat()
    except OSError as error:
        mend = "mkdir -p /dev/pts && mount -t devpts devpts /dev/pts; mount -t proc proc /proc"
        return Check("channel", "missing", str(error), "nothing can be traced", mend)
    return Check("channel", "ok", "terminals, and /proc/self/fd")


# refused -> (consequence, release that has it; '' where nothing is lost without it)
REFUSALS = {
    "mm_owner": ("nothing can be traced: owners are unreadable", "0.17"),
    "raw_tracepoint": ("tracepoint: is used, which costs about 80 ns more per event", "0.18"),
    "ustack_raw": ("user symbols are switched off by BPFTRACE_NO_USER_SYMBOLS", ""),
    "hist_64bit": (
        "buckets are counted without it; hist() in a template of yours puts all from 2.15 s on in "
        "one bucket: give it microseconds",
        "0.20",
    ),
    "hist_bits": ("hist() in a template of yours has one bucket per power of two", "0.20"),
    "for_loop": ("a template of yours cannot loop over a map", "0.21"),
    "delete_key": ("templates write delete(@m[key])", ""),
    "config_block": ("map sizes go through the environment", ""),
    "tuple_print": ("a template of yours cannot print tuples", "0.11"),
}


_EVERY = "every lock is followed, contended or not"
# Refused where it is the kernel, not bpftrace, that lacks the thing.
KERNEL_REFUSALS = {
    "memory_controller": "cgroups are told by the v2 hierarchy, which may not have the memory ones",
    "rwsem_owner": f"{_EVERY}; who holds one since before the window is not told",
}
# PREEMPT_RT's rwsem, where that is readable.
REALTIME = f"{_EVERY}; of those who hold one since before the window only writers are told"


def _accepted(path: str, number: str, field: str, *, fresh: bool) -> Iterator[Check]:
    try:
        outcomes = features.outcomes(path, fresh=fresh)
        if not outcomes["mm_owner"] and features.refusal(path) is not None:
            raise inventory.unable(path, number)
    except TargetError as error:
        yield Check("trials", "missing", error.found, "nothing can be traced", error.mend)
        return
    for name, (consequence, release) in REFUSALS.items():
        meaning = features.TRIALS[name].meaning
        state = "missing" if name == "mm_owner" else "limited" if release else "ok"
        if outcomes[name]:
            yield Check(name, "ok", meaning)
        elif name == "mm_owner" and not features.BTF.exists():
            yield Check(name, state, f"refused: {meaning}", consequence, inventory.mend_owner())
        else:
            mend = _newer(number, release, path) if release else ""
            found = f"{'refused' if release else 'done without'}: {meaning}"
            yield Check(name, state, found, consequence, mend)
    for name, consequence in KERNEL_REFUSALS.items():
        meaning = features.TRIALS[name].meaning
        if outcomes[name]:
            yield Check(name, "ok", meaning)
        else:
            so = REALTIME if name == "rwsem_owner" and outcomes["rwbase"] else consequence
            yield Check(name, "limited", f"no: {meaning}", so, inventory.NO_COMMAND)
    flag = "told with -k" if outcomes["helper_errors_flag"] else "told without a flag"
    yield Check("full maps", "ok", flag)
    if outcomes["rwbase"]:
        mend = _newer(number, REFUSALS["raw_tracepoint"][1], path)
        yield _preemption(field, outcomes, mend)


def _preemption(field: str, outcomes: Mapping[str, bool | str], newer: str) -> Check:
    """With PREEMPT_RT."""
    if not features.takes_raw({**outcomes, "memcg_field": field}):
        return Check(
            "preemption",
            "limited",
            "PREEMPT_RT preempts bpftrace while it reads a stack out of a map",
            "until it goes on, no event on its CPU is seen: reports say how many were missed",
            inventory.NO_COMMAND if outcomes["raw_tracepoint"] else newer,
        )
    return Check("preemption", "ok", "raw tracepoints miss nothing while bpftrace is preempted")


def _newer(number: str, release: str, path: str) -> str:
    """A release that is new enough and refuses all the same does so at times only."""
    # 0.27 takes raw tracepoints only while some BPF program with BTF is loaded.
    if distro.numbers(number) >= distro.numbers(release):
        return (
            f"mmaplock-bt doctor --fresh --bpftrace {shlex.quote(path)}  # refused once, not always"
        )
    return distro.upgrade(release)


def _show(checks: list[Check], *, color: bool) -> None:
    out = console.make(color=color)

    def line(text: Text) -> None:
        out.print(text, soft_wrap=True)

    line(Text(f"Linux {platform.release()} {platform.machine()}"))
    told: set[str] = set()
    for check in checks:
        head = (f"{check.state:<8}", STYLES[check.state])
        line(Text.assemble(head, safe(f"{check.name}: {check.found}")))
        mend = "the same command as above" if check.mend in told else check.mend
        for word, text in (("so", check.consequence), ("mend", mend)):
            if text:
                line(Text(safe(f"         {word}: {text}")))
        told |= {check.mend} - {""}
    standard_streams.show(console.text(out))
