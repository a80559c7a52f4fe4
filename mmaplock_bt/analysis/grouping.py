"""Groups rows into a table: counts, sums, distinct values, the worst row, the period."""

import json
import math
from collections.abc import Callable, Sequence
from itertools import islice, pairwise
from operator import itemgetter
from statistics import median
from typing import Any

from mmaplock_bt.analysis.kept import Raw
from mmaplock_bt.analysis.naming import TOLD_BY_THREAD, Reads, View, nothing, reader
from mmaplock_bt.analysis.weights import Weights
from mmaplock_bt.result.estimates import Spread
from mmaplock_bt.result.rows import AnyRow, TableRow, column
from mmaplock_bt.spec.outputs import Group
from mmaplock_bt.stream.stacks import Stack

REPEATS = 3  # intervals from which a rhythm is called one
STEADY = 0.1  # how far an interval may be from the usual one, as a share of it
BURST = 2  # what is closer together than the widest gap / BURST is one occurrence
MOST = 20_000  # groups of a table
DISTINCT = 50_000  # different values of a table, of all its groups together
STARTS = 200_000  # rows from which the rhythms of a table's groups are told


def is_by_process(output: Group) -> bool:
    """Whether its rows name processes: `comm` without a thread beside it."""
    named = {one.name for one in (*output.columns, *output.figures)}
    return "comm" in named and "tid" not in named


def group(output: Group, rows: Sequence[AnyRow]) -> list[TableRow]:
    """Groups another output's rows by keys; the largest `rank` comes first."""
    flat = [_flat(row) for row in rows]
    names = tuple(dict.fromkeys(name for row in flat for name in row))
    found = Grouping(output, names, math.inf)
    found.add(
        [tuple(Stack(v) if type(v) is list else v for v in map(row.get, names)) for row in flat]
    )
    return found.table({name: itemgetter(at) for at, name in enumerate(names)})


class Member:
    """A group: its figures so far, the first and the worst of its rows."""

    __slots__ = (
        *("count", "distinct", "first", "spread", "starts"),
        *("sums", "top", "total", "worst"),
    )

    def __init__(self, row: Raw, top: int, output: Group) -> None:
        self.first = self.worst = row
        self.count = self.total = 0
        self.top = top
        self.sums: list[int | None] = [None] * len(output.sums)  # None: of no row known
        self.distinct: list[dict[Any, Raw]] = [{} for _ in output.distinct]
        self.starts: list[int] = []
        self.spread = Spread()

    def join(self, other: "Member") -> None:
        """Takes the figures of a later group that turns out to have the same name."""
        self.count += other.count
        self.total += other.total
        if other.top > self.top:
            self.top, self.worst = other.top, other.worst
        self.sums = [_sum(a, b) for a, b in zip(self.sums, other.sums, strict=True)]
        for mine, others in zip(self.distinct, other.distinct, strict=True):
            mine.update(others)
        self.starts += other.starts
        self.spread.join(other.spread)


class Grouping:
    """A table in the making: rows are counted as they pass, and not kept.

    `names` are the rows' columns. Rows are told apart by what they hold; what that is called may
    not be known before the end. Groups beyond `most` (MOST) are left out, with `left` rows.
    """

    def __init__(
        self,
        output: Group,
        names: tuple[str, ...],
        most: float | None = None,
        weights: Weights | None = None,
    ) -> None:
        told = [*(one.name for one in output.columns), *output.where]
        if "user_stack" in told:
            told.append("pid")  # in whose memory the addresses are
        self._output = output
        self._most = MOST if most is None else most
        self._members: dict[Any, Member] = {}
        self._rest = Member((), 0, output)
        self._room = DISTINCT
        self.uncounted = False  # whether there were more different values than are counted
        self._key = _key(names, told)
        if is_by_process(output) and TOLD_BY_THREAD.issubset(names):
            self._key = _key_of_threads(self._key, names)
        self._value = reader(names, output.value)
        self._top = reader(names, "max") if "max" in names else None  # None: as the value
        self._weight = reader(names, output.weight) if output.weight else None
        self._times = reader(names, "count") if "count" in names else None
        self._sums = [reader(names, name) for name in output.sums]
        self._distinct = [reader(names, source) for source in output.distinct.values()]
        self._time = reader(names, "time_ns")
        self._starts = STARTS if output.period else 0
        self._weights = weights if "time_ns" in names else None

    @property
    def left(self) -> int:
        """How many rows are in no group."""
        return self._rest.count

    def add(self, rows: Sequence[Raw]) -> None:
        """Counts rows, one thing after the other of all: quicker than row by row."""
        values = [value or 0 for value in map(self._value, rows)]
        tops = [top or 0 for top in map(self._top, rows)] if self._top else values
        members = self._members_of(rows, tops)
        self._count(members, rows, values)
        for at, read in enumerate(self._sums):
            for member, more in zip(members, map(read, rows), strict=True):
                if more is not None:
                    member.sums[at] = (member.sums[at] or 0) + int(more)
        for at, read in enumerate(self._distinct):
            for member, one, row in zip(members, map(read, rows), rows, strict=True):
                if one not in member.distinct[at]:
                    self._note_distinct(member, at, one, row)
        if self._starts:
            self._note_starts(members, rows, values)

    def table(self, reads: Reads) -> list[TableRow]:
        """Returns the groups by name; `reads` tell what a row's columns are called by now."""
        named: dict[str, tuple[dict[str, Any], Member]] = {}
        for member in self._members.values():
            first = View(member.first, reads)
            if any(first.get(name) != value for name, value in self._output.where.items()):
                continue
            key = {one.name: first.get(one.name) for one in self._output.columns}
            _, known = named.setdefault(json.dumps(key), (key, member))
            if known is not member:
                known.join(member)
        found = [self._summary(key, member, reads) for key, member in named.values()]
        return sorted(found, key=lambda row: -int(column(row, self._output.rank or "sum") or 0))

    def _new(self, key: Any, row: Raw, top: int) -> Member:
        if len(self._members) >= self._most:
            return self._rest
        member = self._members[key] = Member(row, top, self._output)
        return member

    def _members_of(self, rows: Sequence[Raw], tops: Sequence[int]) -> list[Member]:
        """Returns each row's group; the row may be its worst."""
        find, found = self._members.get, []
        for row, key, top in zip(rows, map(self._key, rows), tops, strict=True):
            member = find(key) or self._new(key, row, top)
            if top > member.top:
                member.top, member.worst = top, row
            found.append(member)
        return found

    def _count(self, members: list[Member], rows: Sequence[Raw], values: list[int]) -> None:
        weights = None if self._weights is None or self._weights.are_even else self._weights
        if weights is None and self._weight is None and self._times is None:
            for member, value in zip(members, values, strict=True):
                member.count += 1
                member.total += value
            return
        for member, row, value in zip(members, rows, values, strict=True):
            # How many a row stands for: more than one where it is a sample, or counts others.
            weight = 1
            if self._weight:
                weight = int(self._weight(row))
                member.spread.add(value, weight)
            if weights is not None:
                weight *= weights.of(self._time(row) - value)
            member.count += weight * (int(self._times(row)) if self._times else 1)
            member.total += weight * value

    def _note_distinct(self, member: Member, at: int, one: Any, row: Raw) -> None:
        if self._room == 0:
            self.uncounted = True
        elif member is not self._rest:
            self._room -= 1
            member.distinct[at][one] = row

    def _note_starts(self, members: list[Member], rows: Sequence[Raw], values: list[int]) -> None:
        told = zip(members, map(self._time, rows), values, strict=True)
        for member, time_ns, value in islice(told, self._starts):
            member.starts.append(time_ns - value)
        self._starts = max(0, self._starts - len(rows))

    def _summary(self, key: dict[str, Any], member: Member, reads: Reads) -> TableRow:
        output, worst = self._output, View(member.worst, reads)
        row: Any = {"key": key, "count": member.count, "sum": member.total, "max": member.top}
        row |= member.spread.errors()
        row |= dict(zip(output.sums, member.sums, strict=True))
        for (name, source), seen in zip(output.distinct.items(), member.distinct, strict=True):
            row[name] = len({reads[source](one) for one in seen.values()} - {None})
        row |= {name: worst.get(name) for name in output.worst}
        if output.period:
            told = sorted(member.starts) if self._starts else []  # else some are missing
            row["period_ns"], row["period_error_ns"] = period(told)
        return row  # type: ignore[no-any-return]


def _sum(known: int | None, more: int | None) -> int | None:
    return known if more is None else (known or 0) + int(more)


def _flat(row: Any) -> dict[str, Any]:
    """Rows of tables have their key below 'key', events do not."""
    return {**row, **row.get("key", {})}


def _key(names: tuple[str, ...], told: Sequence[str]) -> Callable[[Raw], Any]:
    """What tells rows apart; a column that they lack does not."""
    places = [names.index(name) for name in dict.fromkeys(told) if name in names]
    return itemgetter(*places) if places else nothing


def _key_of_threads(key_of: Callable[[Raw], Any], names: tuple[str, ...]) -> Callable[[Raw], Any]:
    """Threads of one name may be of several processes; a leader has its process's name."""
    pid, tid = names.index("pid"), names.index("tid")
    return lambda row: (key_of(row), None if row[pid] == row[tid] else row[pid])


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
            own = row[name]
            share = round(1000 * int(own) / all_of_it) if all_of_it and own is not None else None
            row[f"{name}_permille"] = share
