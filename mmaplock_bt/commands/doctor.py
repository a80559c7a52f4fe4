"""What this machine offers to mmaplock-bt: a checklist with the consequence and the mending."""

import argparse
import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from mmaplock_bt import target, trials
from mmaplock_bt.commands.run import dump
from mmaplock_bt.errors import TargetError

STYLES = {"ok": "green", "limited": "yellow", "missing": "bold red"}


@dataclass(frozen=True)
class Check:
    """`state` is ok, limited (works, with the consequence) or missing (cannot trace)."""

    name: str
    state: str
    found: str
    consequence: str = ""
    mend: str = ""


def main(arguments: argparse.Namespace) -> int:
    checks = list(_checks(arguments.bpftrace, fresh=arguments.fresh))
    missing = any(check.state == "missing" for check in checks)
    if arguments.json:
        dump({"schema": 1, "can_trace": not missing, "checks": [asdict(check) for check in checks]})
    else:
        _show(checks)
    return TargetError.exit_code if missing else 0


def _checks(bpftrace: str, *, fresh: bool) -> Iterator[Check]:
    """Each fact by itself: one that is missing hides none of the others."""
    yield _needed("privilege", target.privilege)
    yield (root := _needed("tracefs", lambda: str(target.tracefs())))
    if root.state == "ok":
        yield (events := _needed("tracepoints", lambda: str(target.tracepoints(Path(root.found)))))
        if events.state == "ok":
            yield from _fields(target.memcg_field(Path(events.found)))
    yield _btf()
    yield from _kernel()
    yield (path := _needed("bpftrace", lambda: target.binary(bpftrace)))
    if path.state == "ok":
        yield (number := _needed("version", lambda: target.version(path.found)))
        if number.state == "ok":
            yield from _accepted(path.found, fresh=fresh)


def _needed(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, "ok", look())
    except TargetError as error:
        return Check(name, "missing", error.found, "nothing can be traced", error.mend)


def _fields(field: str) -> Iterator[Check]:
    if field == "memcg_path":
        yield Check(
            "event fields",
            "limited",
            f"{field} (kernels before 6.14)",
            "while tracing, every event walks the cgroup path of its process: a higher overhead",
            "boot Linux 6.14 or newer where that matters",
        )
    else:
        yield Check("event fields", "ok", field)
        if trials.kernel_functions()["tracepoint_srcu"]:
            yield Check(
                "raw tracepoints",
                "limited",
                "their programs can be preempted on this kernel, which drops events",
                "tracepoint: is used, which costs about 80 ns more per event",
            )


def _btf() -> Check:
    if trials.BTF.exists():
        return Check("BTF", "ok", str(trials.BTF))
    return Check(
        "BTF", "limited", f"no {trials.BTF}", "owners may be unreadable", target.mend_owner()
    )


def _kernel() -> Iterator[Check]:
    functions = trials.kernel_functions()
    if functions["per_vma_locks"]:
        yield Check(
            "page faults",
            "limited",
            "this kernel has per-VMA locks (6.4 and newer)",
            "most page faults bypass mmap_lock: they are neither counted nor delayed by it",
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
        )


# accepted -> nothing to say; refused -> (consequence, mend)
REFUSALS = {
    "mm_owner": ("nothing can be traced: owners are unreadable", ""),
    "raw_tracepoint": (
        "tracepoint: is used, which costs about 80 ns more per event",
        "bpftrace 0.18 or newer",
    ),
    "ustack_raw": ("user symbols are switched off by BPFTRACE_NO_USER_SYMBOLS", ""),
    "hist_64bit": (
        "hist() keeps 32 bits; shipped analyses count their own buckets, "
        "a template of yours should give hist() microseconds",
        "bpftrace 0.20 or newer",
    ),
    "hist_bits": (
        "hist() of a template of yours has one bucket per power of two",
        "bpftrace 0.20 or newer",
    ),
    "for_loop": ("a template of yours cannot loop over a map", "bpftrace 0.21 or newer"),
    "delete_key": ("templates write delete(@m[key])", ""),
    "config_block": ("settings go through the environment", ""),
    "tuple_print": ("a template of yours cannot print tuples", ""),
}


def _accepted(path: str, *, fresh: bool) -> Iterator[Check]:
    try:
        outcomes = trials.outcomes(path, fresh=fresh)
    except TargetError as error:
        yield Check("trials", "missing", error.found, "nothing can be traced", error.mend)
        return
    for name, (consequence, mend) in REFUSALS.items():
        meaning = trials.TRIALS[name].meaning
        if outcomes[name]:
            yield Check(name, "ok", meaning)
        elif name == "mm_owner":
            yield Check(name, "missing", f"refused: {meaning}", consequence, target.mend_owner())
        else:
            yield Check(name, "limited", f"refused: {meaning}", consequence, mend)


def _show(checks: list[Check]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"Linux {platform.release()} {platform.machine()}")
    for check in checks:
        console.print(
            Text.assemble((f"{check.state:<8}", STYLES[check.state]), check.name, ": ", check.found)
        )
        for word, text in (("so", check.consequence), ("mend", check.mend)):
            if text:
                console.print(Text(f"         {word}: {text}"))
