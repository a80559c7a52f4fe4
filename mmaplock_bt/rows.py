"""What a script printed -> rows of the outputs that it filled itself."""

import re
from collections import defaultdict
from typing import Any

from mmaplock_bt import causes, parties, symbols
from mmaplock_bt.fields import Field
from mmaplock_bt.result import Row
from mmaplock_bt.script import SUB_BUCKET_BITS
from mmaplock_bt.stream import Collected
from mmaplock_bt.template import Output

QUANTILES = {"p50": (1, 2), "p90": (9, 10), "p99": (99, 100), "p99.9": (999, 1000)}
_TRACER_FRAME = re.compile(
    r"(bpf_prog_|bpf_trace_run|bpf_get_stack|__bpf_trace_|__traceiter_mmap_lock|__mmap_lock_do_trace"
    r"|perf_trace_|trace_call_bpf|perf_call_bpf|trace_event_raw)"
)


def of(name: str, output: Output, got: Collected) -> list[Row]:
    """Unsorted rows. What cannot be read is counted as unparsed."""
    if output.kind == "events":
        return [row for rest in got.printed[name] if (row := event(rest, output, got)) is not None]
    return (
        _histogram(name, output, got) if output.kind == "histogram" else _table(name, output, got)
    )


def event(rest: str, output: Output, got: Collected) -> Row | None:
    parts = output.cut(rest)
    try:
        values = {c.name: value(c, parts[c.name], got) for c in output.printed} if parts else None
    except (ValueError, IndexError):
        values = None
    if values is None:
        got.unparsed += 1
        return None
    if "time_ns" in values:
        values["time_ns"] = max(0, values["time_ns"] - (got.opened_ns or 0))
    _name_owner(values, got)
    if "user_stack" in values:
        pid = int(values.get("pid") or 0)
        named = got.user_frames
        values["user_stack"] = [named.get((pid, f), f) for f in values["user_stack"]]
    values["cause"] = causes.classify(values.get("kernel_stack") or [])
    return {column.name: values.get(column.name) for column in output.columns}


def _name_owner(values: Row, got: Collected) -> None:
    """A torn-down address space has no owner left to name: the exiting process itself is known."""
    if values.get("owner_pid") == 0:
        values["owner_pid"] = None
    if values.get("owner_comm") == "":
        own = values.get("owner_pid") is not None and values.get("owner_pid") == values.get("pid")
        values["owner_comm"] = values.get("comm") if own else got.names.get(values["owner_pid"])


def _histogram(name: str, output: Output, got: Collected) -> list[Row]:
    buckets: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for key, count in got.maps.get(name, ()):
        group, _, lower = key.rpartition(",")
        buckets[group][int(lower)] += count
    sums, maxima = _by_key(name + "_sum", got), _by_key(name + "_max", got)
    rows = []
    for group in sorted(buckets):
        counts = sorted(buckets[group].items())
        total = sum(n for _, n in counts)
        top = maxima.get(group or "0", 0)
        filled = [[low, upper(low), n] for low, n in counts]
        rows.append(
            {
                "key": _row_key(group, output, got),
                "count": total,
                "sum": sums.get(group or "0", 0),
                "max": top,
                "buckets": filled,
                "quantiles": {q: quantile(filled, total, top, *QUANTILES[q]) for q in QUANTILES},
            }
        )
    return rows


def upper(lower: int) -> int:
    """The inclusive upper end of the bucket that begins at `lower`."""
    return lower + (1 << max(0, lower.bit_length() - 1 - SUB_BUCKET_BITS)) - 1


def quantile(
    buckets: list[list[int]], total: int, top: int, numerator: int, denominator: int
) -> list[int]:
    """The interval [lo, hi] in which the quantile lies: its bucket, cut at the exact maximum."""
    rank = max(1, -(-total * numerator // denominator))
    seen = 0
    for low, high, count in buckets:
        seen += count
        if seen >= rank:
            return [low, min(high, max(top, low))]
    return [0, 0]


def _table(name: str, output: Output, got: Collected) -> list[Row]:
    sums, maxima = _by_key(name + "_sum", got), _by_key(name + "_max", got)
    rows: list[Row] = []
    for key, count in got.maps.get(name, ()):
        row: Row = {"key": _row_key(key, output, got), "count": count}
        if output.kind == "table":
            row |= {"sum": sums.get(key), "max": maxima.get(key)}
        rows.append(row)
    return rows


def _by_key(name: str, got: Collected) -> dict[str, int]:
    return dict(got.maps.get(name, ()))


def _row_key(key: str, output: Output, got: Collected) -> Row:
    columns = output.columns
    if not columns:
        return {}
    parts = key.split(",", len(columns) - 1)
    values: Row = {}
    for column, part in zip(columns, parts, strict=False):
        values[column.name] = value(column, part, got)
        if column.name == "owner_pid":
            pid = values["owner_pid"]
            values["owner_comm"] = got.names.get(pid)
            values["cgroup"] = got.cgroup(got.name_cgroups.get(pid, 0))
            values["owner_pid"] = pid or None
        if column.name == "pid":
            values["comm"] = got.names.get(values["pid"])
    return values


def value(column: Field, text: str, got: Collected) -> Any:  # noqa: PLR0911  (a table of types)
    match column.type:
        case "int":
            return int(text, 0)
        case "hex":
            return f"0x{int(text, 16) & (2**64 - 1):016x}"
        case "enum":
            return column.labels[int(text)]
        case "text":
            return parties.text(text)
        case "cgroup":
            return got.cgroup(int(text, 0))
        case "user_stack":
            return [f"0x{address:x}" for address in symbols.addresses(text)]
        case _:
            return frames(text)


def frames(text: str) -> list[str]:
    """A stack as printed -> frames, innermost first, without those of the tracing itself."""
    found = [line.strip() for line in text.split("\n")]
    kept = [line for line in found if line]
    while kept and _TRACER_FRAME.match(kept[0]):
        kept.pop(0)
    return kept
