"""Rows grouped into a table: counts, sums, different values, the worst one, the period."""

import json
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from mmaplock_bt.result.model import Row
from mmaplock_bt.spec.declaration import Output

REPEATS = 3  # intervals from which a rhythm is called one
STEADY = 0.1  # how far an interval may be from the usual one, as a share of it
BURST = 2  # what is closer together than the widest gap / BURST is one occurrence


def group(output: Output, rows: list[Row]) -> list[Row]:
    """Largest `rank` first. Rows of tables carry their key below 'key', events do not."""
    flat = [{**row, **row.get("key", {})} for row in rows]
    flat = [row for row in flat if all(row.get(k) == v for k, v in output.where.items())]
    members: dict[str, list[Row]] = {}
    names = [column.name for column in output.columns]
    for row in flat:
        key = {name: row.get(name) for name in names}
        members.setdefault(json.dumps(key), []).append(row)
    grouped = [_summary(output, json.loads(key), found) for key, found in members.items()]
    return sorted(grouped, key=lambda row: -int(row.get(output.rank or "sum") or 0))


def _summary(output: Output, key: dict[str, Any], rows: list[Row]) -> Row:
    value = str(output.value)
    worst = max(rows, key=lambda row: int(row.get("max", row[value]) or 0))
    row: Row = {
        "key": key,
        "count": sum(_times(output, r) * int(r.get("count", 1)) for r in rows),
        "sum": sum(_times(output, r) * int(r[value] or 0) for r in rows),
        "max": int(worst.get("max", worst[value]) or 0),
    }
    row |= {name: sum(int(r[name] or 0) for r in rows) for name in output.sums}
    for name, source in output.distinct.items():
        row[name] = len({r[source] for r in rows if r[source] is not None})
    row |= {name: worst.get(name) for name in output.worst}
    if output.period:
        starts = sorted(int(r["time_ns"]) - int(r[value] or 0) for r in rows)
        row["period_ns"], row["period_error_ns"] = period(starts)
    return row


def _times(output: Output, row: Row) -> int:
    """How many the row stands for: more than one where it is a sample."""
    return int(row[output.weight]) if output.weight else 1


def period(starts: Sequence[int]) -> tuple[int | None, int | None]:
    """(usual interval, largest distance from it) in ns, or (None, None) where nothing repeats.

    One scan of a monitor takes the lock many times: what lies close together is one occurrence.
    """
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    if len(gaps) < REPEATS:
        return None, None
    widest = max(gaps)
    firsts = [starts[0]]
    firsts += [start for start, gap in zip(starts[1:], gaps, strict=True) if gap * BURST > widest]
    intervals = [later - earlier for earlier, later in pairwise(firsts)]
    if len(intervals) < REPEATS:
        return None, None
    usual = int(median(intervals))
    error = max(abs(interval - usual) for interval in intervals)
    return (usual, error) if error <= STEADY * usual else (None, None)


def add_shares(rows: list[Row], whole: list[Row]) -> None:
    """Which part of `whole` each row with the same key is, in thousandths, by count and by sum."""
    totals = {json.dumps(row["key"]): row for row in whole}
    for row in rows:
        total = totals.get(json.dumps(row["key"]), {})
        for name in ("count", "sum"):
            all_of_it = int(total.get(name) or 0)
            share = round(1000 * int(row[name]) / all_of_it) if all_of_it else None
            row[f"{name}_permille"] = share
