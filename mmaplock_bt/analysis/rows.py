"""What a script printed -> rows of the outputs that it filled itself."""

from collections import defaultdict
from typing import Any

from mmaplock_bt.analysis import causes
from mmaplock_bt.result.model import Row
from mmaplock_bt.script.render import SUB_BUCKET_BITS
from mmaplock_bt.spec.columns import Field
from mmaplock_bt.spec.declaration import Output
from mmaplock_bt.stream import bpftrace_json, identities, stacks
from mmaplock_bt.stream.collect import Collected
from mmaplock_bt.tracing import user_frames

Ends = list[int | None]  # a bucket: its inclusive ends (None: open) and, third, its count
QUANTILES = {"p50": (1, 2), "p90": (9, 10), "p99": (99, 100), "p99.9": (999, 1000)}


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
        got.note_unparsed(rest)
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
    if name in got.hists:
        return _native_histogram(got.hists[name], output, got)
    buckets: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for key, count in got.maps.get(name, ()):
        group, _, lower = key.rpartition(",")
        try:
            buckets[group][bpftrace_json.integer(lower)] += count
        except ValueError:
            got.note_unparsed(f"@{name}[{key}]")
    sums, maxima = _by_key(name + "_sum", got), _by_key(name + "_max", got)
    rows = []
    for group in sorted(buckets):
        filled: list[Ends] = [[low, upper(low), n] for low, n in sorted(buckets[group].items())]
        measured = (sums.get(group or "0", 0), maxima.get(group or "0", 0))
        rows.append(histogram_row(_row_key(group, output, got), filled, *measured))
    return [row for row in rows if row["key"] is not None]


def _native_histogram(dump: bpftrace_json.HistDump, output: Output, got: Collected) -> list[Row]:
    """Of a template that writes hist() or lhist() itself: no sum, no maximum, ends may be open."""
    rows = []
    for group, buckets in sorted(dump.entries, key=lambda entry: entry[0]):
        filled: list[Ends] = [[b.low, b.high, b.count] for b in buckets if b.count]
        if filled:
            rows.append(histogram_row(_row_key(group, output, got), filled, None, None))
    return [row for row in rows if row["key"] is not None]


def histogram_row(key: Row | None, buckets: list[Ends], total: int | None, top: int | None) -> Row:
    count = sum(n or 0 for _, _, n in buckets)
    return {
        "key": key,
        "count": count,
        "sum": total,
        "max": top,
        "buckets": buckets,
        "quantiles": {q: quantile(buckets, count, top, *QUANTILES[q]) for q in QUANTILES},
    }


def upper(lower: int) -> int:
    """The inclusive upper end of the bucket that begins at `lower`."""
    return lower + (1 << max(0, lower.bit_length() - 1 - SUB_BUCKET_BITS)) - 1


def quantile(
    buckets: list[Ends], total: int, top: int | None, numerator: int, denominator: int
) -> Ends:
    """The interval [lo, hi] in which the quantile lies: its bucket, cut at the maximum if known.

    None is an open end.
    """
    rank = max(1, -(-total * numerator // denominator))
    seen = 0
    for low, high, count in buckets:
        seen += count or 0
        if seen >= rank:
            cut = high if low is None or high is None or top is None else min(high, max(top, low))
            return [low, cut]
    return [0, 0]


def _table(name: str, output: Output, got: Collected) -> list[Row]:
    sums, maxima = _by_key(name + "_sum", got), _by_key(name + "_max", got)
    rows: list[Row] = []
    for key, count in got.maps.get(name, ()):
        row: Row = {"key": _row_key(key, output, got), "count": count}
        if output.kind == "table":
            row |= {"sum": sums.get(key), "max": maxima.get(key)}
        rows.append(row)
    if output.kind == "table" and name in got.stats:  # stats() knows no maximum
        for key, count, total in got.stats[name].entries:
            rows.append(
                {"key": _row_key(key, output, got), "count": count, "sum": total, "max": None}
            )
    return [row for row in rows if row["key"] is not None]


def _by_key(name: str, got: Collected) -> dict[str, int]:
    return dict(got.maps.get(name, ()))


def _row_key(key: str, output: Output, got: Collected) -> Row | None:
    """None, and noted, for a key that does not hold what the output declares."""
    columns = output.columns
    if not columns:
        return {}
    parts = key.split(",", len(columns) - 1)
    try:
        numbers = [bpftrace_json.integer(part) for part in parts]
        found = [_key_value(c, number, got) for c, number in zip(columns, numbers, strict=True)]
    except (ValueError, IndexError):
        got.note_unparsed(f"key [{key}]")
        return None
    return _with_names(dict(zip((c.name for c in columns), found, strict=True)), got)


def _with_names(values: Row, got: Collected) -> Row:
    """Each pid is followed by what was learnt of it."""
    named: Row = {}
    for name, found in values.items():
        named[name] = found
        if name == "owner_pid":
            named["owner_comm"] = got.names.get(found)
            named["cgroup"] = got.cgroup(got.name_cgroups.get(found, 0))
            named["owner_pid"] = found or None
        if name == "pid":
            named["comm"] = got.names.get(found)
    return named


def _key_value(column: Field, number: int, got: Collected) -> Any:
    """Up to 0.23 keys of 2^63 and above are printed as negative numbers."""
    if column.type == "enum":
        return column.labels[number]
    if column.type == "cgroup":
        return got.cgroup(number)
    return f"0x{number & (2**64 - 1):016x}" if column.type == "hex" else number


def value(column: Field, text: str, got: Collected) -> Any:  # noqa: PLR0911  (a table of types)
    match column.type:
        case "int":
            return int(text, 0)
        case "hex":
            return f"0x{int(text, 16) & (2**64 - 1):016x}"
        case "enum":
            return column.labels[int(text)]
        case "text":
            return identities.text(text)
        case "cgroup":
            return got.cgroup(int(text, 0))
        case "user_stack":
            return [f"0x{address:x}" for address in user_frames.addresses(text)]
        case _:
            return stacks.frames(text)
