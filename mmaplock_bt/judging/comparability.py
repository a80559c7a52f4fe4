"""Whether runs may be compared: what must be the same, and what is only worth noting."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mmaplock_bt.result.buckets import upper
from mmaplock_bt.result.model import HistogramData, Result
from mmaplock_bt.result.rows import Bucket
from mmaplock_bt.units import counted

# From 6.4 page faults take per-VMA locks; up to 6.13 the tracepoints walk the cgroup's path on
# every event (mm: mmap_lock: optimize mmap_lock tracepoints).
KERNEL_ERAS = ((6, 4), (6, 14))
_PIDS = ("owner.pid", "actor.pid")
Kinds = dict[str, Callable[[Result], Any]]


def differences(runs: Sequence[Result], kinds: Kinds) -> Iterator[str]:
    """Yields, in words, where a run is of another kind than the first one."""
    first = runs[0]
    for other in runs[1:]:
        for what, kind in kinds.items():
            if kind(other) != kind(first):
                yield f"{what}: {_told(kind(first))} and {_told(kind(other))}"


def other_buckets(runs: Sequence[Result]) -> Iterator[str]:
    """Yields, in words, the histograms whose runs have different kinds of buckets.

    The script's own are the same everywhere; a template's hist() or lhist() may differ.
    """
    found: dict[str, set[str]] = {}
    for run in runs:
        for name, kind in _bucket_kinds(run).items():
            found.setdefault(name, set()).add(kind)
    for name, kinds in found.items():
        if len(kinds) > 1:
            yield f"buckets of {name}: {' and '.join(sorted(kinds))}"


def _era(result: Result) -> str:
    found = re.match(r"(\d+)\.(\d+)", result.target.kernel)
    series = (int(found[1]), int(found[2])) if found else (0, 0)
    passed = [f"{one}.{two} or later" for one, two in KERNEL_ERAS if series >= (one, two)]
    return passed[-1] if passed else "before 6.4"


def _told(kind: Any) -> str:
    """A mapping as its items, an empty one as 'none'."""
    if isinstance(kind, dict):
        return ", ".join(f"{key} {_words(value)}".strip() for key, value in kind.items()) or "none"
    return str(kind) or "none"


def _words(value: Any) -> str:
    return " or ".join(map(str, value)) if isinstance(value, list) else str(value)


def _filter(result: Result) -> dict[str, Any]:
    """Of pids only how many there are: the same service has another one after its restart."""
    flat: dict[str, Any] = {}
    for side, given in result.profile.filter.items():
        inner = given if isinstance(given, dict) else {"": given}
        flat |= {f"{side}{'.' * bool(k)}{k}": v for k, v in inner.items() if v}
    for name in _PIDS:
        if name in flat:
            pids = flat.pop(name)
            flat[counted(len(pids) if isinstance(pids, list) else 1, name)] = ""
    return flat


def _whose(result: Result) -> str:
    """Whose address spaces: a command's processes alone, also where an old result does not tell."""
    is_tree = result.window.command is not None and result.profile.tree is not False
    return "the command's processes" if is_tree else "every process"


def _bucket_kinds(result: Result) -> dict[str, str]:
    """The kind of each histogram that has rows."""
    return {
        name: _bucket_kind([bucket for row in output.rows for bucket in row["buckets"]])
        for name, output in result.outputs.items()
        if isinstance(output, HistogramData) and output.rows
    }


def _bucket_kind(buckets: Sequence[Bucket]) -> str:
    if all(low is not None and high == upper(low) for low, high, _ in buckets):
        return "eighths of powers of two"
    if all(low is None or high is None or high + 1 in (2 * low, 1, 2) for low, high, _ in buckets):
        return "powers of two"
    return "linear"


KINDS: Kinds = {
    "profile": lambda result: result.profile.name,
    "template": lambda result: result.profile.template,
    "parameters": lambda result: result.profile.params,
    "filter": _filter,
    "traced": _whose,
    "engine": lambda result: result.target.facts.get("engine", "bpftrace"),
    "locks": lambda result: result.profile.locks,
    "sample": lambda result: f"1/{result.profile.sample}",
    "kernel": _era,
    "architecture": lambda result: result.target.arch,
    "CPUs": lambda result: result.target.cpus,
}
# Worth knowing, but no reason to refuse.
NOTED: Kinds = {
    "kernel release": lambda result: result.target.kernel,
    "bpftrace": lambda result: result.target.bpftrace,
    "command": lambda result: " ".join(result.window.command.argv) if result.window.command else "",
}
