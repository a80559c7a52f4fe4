"""Makes the rows of the outputs that the script counted."""

from collections import defaultdict
from typing import Any

from mmaplock_bt.result.buckets import histogram_row, upper
from mmaplock_bt.result.rows import Bucket, HistogramRow, Row, column
from mmaplock_bt.spec.columns import Column
from mmaplock_bt.spec.outputs import Histogram, Output, Outputs
from mmaplock_bt.stream import bpftrace_json, records
from mmaplock_bt.stream.bpftrace_json import HistDump
from mmaplock_bt.stream.collect import Collected


def counted(name: str, output: Output, got: Collected, outputs: Outputs) -> list[Any]:
    """Returns an output's rows, unsorted. What cannot be read is counted as unparsed."""
    if output.kind == "histogram":
        return _histogram(name, output, got, outputs)
    return _table(name, output, got)


def with_columns(row: Any, output: Output) -> Row:
    """Returns a row in the declared order; a column that it lacks is None."""
    found: Any = {one.name: column(row, one.name) for one in output.columns}
    return found  # type: ignore[no-any-return]


def _histogram(name: str, output: Output, got: Collected, outputs: Outputs) -> list[HistogramRow]:
    if name in got.hists:
        return _native_histogram(got.hists[name], output, got)
    counts: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for key, count in got.maps.get(name, ()):
        group, _, lower = key.rpartition(",")
        try:
            counts[group][bpftrace_json.integer(lower)] += count
        except ValueError:
            got.note_unparsed(f"@{name}[{key}]")
    sums, maxima = _totals(name, output, got, outputs)
    rows = []
    for group in sorted(counts):
        if (named := _row_key(group, output, got)) is not None:
            filled = [Bucket(low, upper(low), n) for low, n in sorted(counts[group].items())]
            measured = (sums.get(group or "0", 0), maxima.get(group or "0", 0))
            rows.append(histogram_row(named, filled, *measured))
    return rows


def _totals(
    name: str, output: Output, got: Collected, outputs: Outputs
) -> tuple[dict[str, int], dict[str, int]]:
    """Sums and maxima by the histogram's key, of its own maps or of the table that has them."""
    table = output.totals_in(outputs) if isinstance(output, Histogram) else None
    if table is None or not isinstance(output, Histogram):
        sums, maxima = (dict(got.maps.get(f"{name}_{what}", ())) for what in ("sum", "max"))
        return sums, maxima
    there = [column.name for column in table.columns]
    places = [there.index(column.name) for column in output.columns]
    added: dict[str, int] = defaultdict(int)
    largest: dict[str, int] = defaultdict(int)
    for key, total in got.maps.get(f"{output.totals}_sum", ()):
        added[_part(key, places)] += total
    for key, value in got.maps.get(f"{output.totals}_max", ()):
        largest[_part(key, places)] = max(largest[_part(key, places)], value)
    return added, largest


def _part(key: str, places: list[int]) -> str:
    """A key's parts at these places; '0' is the key of what has none."""
    parts = key.split(",")
    return ",".join(parts[place].strip() for place in places) or "0"


def _native_histogram(dump: HistDump, output: Output, got: Collected) -> list[HistogramRow]:
    """From a template's own hist() or lhist(): no sum, no maximum, ends may be open."""
    rows = []
    for group, buckets in sorted(dump.entries, key=lambda entry: entry[0]):
        filled = [bucket for bucket in buckets if bucket.n]
        if filled and (key := _row_key(group, output, got)) is not None:
            rows.append(histogram_row(key, filled, None, None))
    return rows


def _table(name: str, output: Output, got: Collected) -> list[Any]:
    sums, maxima = (dict(got.maps.get(f"{name}_{what}", ())) for what in ("sum", "max"))
    found: list[tuple[str, dict[str, int | None]]] = []
    for key, count in got.maps.get(name, ()):
        table = {"sum": sums.get(key), "max": maxima.get(key)} if output.kind == "table" else {}
        found.append((key, {"count": count, **table}))
    if output.kind == "table" and name in got.stats:  # stats() knows no maximum
        for key, count, total in got.stats[name].entries:
            found.append((key, {"count": count, "sum": total, "max": None}))
    keyed = ((_row_key(key, output, got), figures) for key, figures in found)
    return [{"key": key, **figures} for key, figures in keyed if key is not None]


def _row_key(key: str, output: Output, got: Collected) -> Row | None:
    """None, and counted as unparsed, for a key that is not as the output declares."""
    columns = output.columns
    parts = key.split(",", len(columns) - 1) if columns else []
    named: Any = {}
    try:
        for one, part in zip(columns, parts, strict=True):
            named |= _named(one, bpftrace_json.integer(part), got)
    except ValueError:
        got.note_unparsed(f"key [{key}]")
        return None
    return named  # type: ignore[no-any-return]


def _named(one: Column, number: int, got: Collected) -> dict[str, Any]:
    """A key's column; a pid is followed by what was learnt of it (spec/columns: LEARNT)."""
    if one.name == "owner_pid":
        known = got.names.get(number)
        cgroup = None if known is None else got.cgroup(known.cgroup)
        return {"owner_pid": number or None, "owner_comm": got.comm(number), "cgroup": cgroup}
    if one.name == "pid":
        return {"pid": number, "comm": got.comm(number)}
    return {one.name: _value(one, number, got)}


def _value(one: Column, number: int, got: Collected) -> Any:
    match one.type:
        case "enum":
            return records.label(number, one)
        case "cgroup":
            return got.cgroup(number)
        case "hex":
            return records.hexadecimal(number)
        case _:
            return number
