"""Groups rows into a table: counts, sums, distinct values, the worst row, the period."""

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from mmaplock_bt.result.rows import AnyRow, TableRow, column
from mmaplock_bt.spec.outputs import Group

Flat = dict[str, Any]
REPEATS = 3  # intervals from which a rhythm is called one
STEADY = 0.1  # how far an interval may be from the usual one, as a share of it
BURST = 2  # what is closer together than the widest gap / BURST is one occurrence


def group(
    output: Group, rows: Sequence[AnyRow], weigh: Callable[[Any], int] = lambda _: 1
) -> list[TableRow]:
    """Groups another output's rows by keys; the largest `rank` comes first.

    `weigh` tells how many a row stands for beside what `output.weight` says.
    """
    flat = [_flat(row) for row in rows]
    flat = [row for row in flat if all(row.get(k) == v for k, v in output.where.items())]
    members: dict[str, list[Flat]] = {}
    names = [column.name for column in output.columns]
    for row in flat:
        key = {name: row.get(name) for name in names}
        members.setdefault(json.dumps(key), []).append(row)
    grouped = [_summary(output, json.loads(key), found, weigh) for key, found in members.items()]
    return sorted(grouped, key=lambda row: -int(column(row, output.rank or "sum") or 0))


def _flat(row: Any) -> Flat:
    """Rows of tables have their key below 'key', events do not."""
    return {**row, **row.get("key", {})}


def _summary(output: Group, key: Any, rows: list[Flat], weigh: Callable[[Any], int]) -> TableRow:
    value = output.value
    times = [_times(output, row) * weigh(row) for row in rows]
    worst = max(rows, key=lambda row: int(row.get("max", row[value]) or 0))
    row: Any = {
        "key": key,
        "count": sum(n * int(r.get("count", 1)) for n, r in zip(times, rows, strict=True)),
        "sum": sum(n * int(r[value] or 0) for n, r in zip(times, rows, strict=True)),
        "max": int(worst.get("max", worst[value]) or 0),
    }
    row |= {name: sum(int(r[name] or 0) for r in rows) for name in output.sums}
    for name, source in output.distinct.items():
        row[name] = len({r[source] for r in rows if r[source] is not None})
    row |= {name: worst.get(name) for name in output.worst}
    if output.period:
        starts = sorted(int(r["time_ns"]) - int(r[value] or 0) for r in rows)
        row["period_ns"], row["period_error_ns"] = period(starts)
    return row  # type: ignore[no-any-return]


def _times(output: Group, row: Flat) -> int:
    """How many a row stands for: more than one where it is a sample."""
    return int(row[output.weight]) if output.weight else 1


def period(starts: Sequence[int]) -> tuple[int | None, int | None]:
    """Returns (usual interval, largest distance from it) in ns of sorted starts in ns.

    (None, None) where nothing repeats. One scan of a monitor takes the lock many times: what lies
    close together counts as one occurrence.
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


def add_shares(rows: Sequence[Any], whole: Sequence[Any]) -> None:
    """Adds to each row its part, in permille, of the row of `whole` with the same key."""
    totals = {json.dumps(row["key"]): row for row in whole}
    for row in rows:
        total = totals.get(json.dumps(row["key"]), {})
        for name in ("count", "sum"):
            all_of_it = int(total.get(name) or 0)
            share = round(1000 * int(row[name]) / all_of_it) if all_of_it else None
            row[f"{name}_permille"] = share
