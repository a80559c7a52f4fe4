"""Makes a window's outputs: what passes is tallied, the rest is made when the stream has ended."""

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

from mmaplock_bt.analysis import (
    blame,
    convoys,
    grouping,
    kept,
    naming,
    printed_events,
    rows,
    spans,
)
from mmaplock_bt.analysis.kept import Raw
from mmaplock_bt.analysis.meanwhile import Meanwhile
from mmaplock_bt.analysis.naming import Reads, Rows
from mmaplock_bt.analysis.printed_events import PrintedEvents
from mmaplock_bt.analysis.tally import Tally, rank_of
from mmaplock_bt.analysis.weights import Weights
from mmaplock_bt.result import estimates
from mmaplock_bt.result.buckets import merged
from mmaplock_bt.result.model import CounterData, EventsData, HistogramData, OutputData, TableData
from mmaplock_bt.result.rows import Row, column
from mmaplock_bt.spec.outputs import Derived, Events, Group, OpenSpans, Output, Outputs, Table
from mmaplock_bt.stream.collect import Collected, Taker
from mmaplock_bt.stream.stacks import Stack

BATCH = 1024  # derived rows that are looked at together
SPANS = 50_000  # waits, and holds, of which blame and convoys are made: the longest
DERIVATIONS: dict[str, Callable[[Rows, Rows], Iterable[Row]]] = {
    "charges": blame.charges,
    "convoys": convoys.find,
}
_DATA: dict[str, Callable[..., OutputData]] = {
    "histogram": HistogramData,
    "table": TableData,
    "counter": CounterData,
    "events": EventsData,
}


class Making:
    """A window's outputs in the making; `takers` take events' rows as they come."""

    def __init__(self, declared: Outputs) -> None:
        self.got = Collected()  # what the stream says beside
        self._declared = declared
        self._most = SPANS
        self._tallies: dict[str, Tally] = {}
        self._reads: dict[str, Reads] = {}
        self._made: dict[str, OutputData] = {}
        feeding = {name for output in declared.values() for name in _spans_of(output)}
        self._printed: dict[str, PrintedEvents] = {}
        for name, output in declared.items():
            if output.kind == "events" and output.is_printed:
                names = printed_events.names_of(output)
                tally = self._tally(name, names, SPANS if name in feeding else kept.FIRST)
                self._printed[name] = PrintedEvents(output, tally, self.got)
        self.takers: dict[str, Taker] = {n: one.take for n, one in self._printed.items()}

    @property
    def rarest(self) -> int:
        """Of how many locks one was followed at times, where the script weighed its counts."""
        return max((step.sample for step in self.got.steps), default=1)

    def beside(self, got: Collected, most: int) -> "Making":
        """Returns another that makes of what passed so far, and of `got` in place of its own.

        What joins waits and holds takes the `most` longest. This one goes on as it was.
        """
        other = copy.copy(self)
        other.got, other._most = got, most
        other._tallies, other._reads, other._made = dict(self._tallies), {}, {}
        return other

    def made(self, sample: int = 1) -> dict[str, OutputData]:
        """Returns the outputs in the declared order; what joins two comes when all are there.

        Of `sample` locks one was followed.
        """
        got, rarest = self.got, max(sample, self.rarest)
        self._meanwhile = Meanwhile(got)
        for name in self._printed:
            names = self._tallies[name].names
            self._reads[name] = naming.reads(self._declared[name], names, got)
        for name, output in self._declared.items():
            unnamed = got.unnamed
            data = self._output(name, output, got)
            self._made[name] = data if got.unnamed == unnamed else _nameless(data)
        for data in self._made.values() if rarest > 1 else ():
            _estimate(data, rarest, sample)
        for name, output in self._declared.items():
            if isinstance(output, Events) and output.behind is not None:
                self._join(name, output.behind)
            if isinstance(output, Table) and output.share_of is not None:
                grouping.add_shares(self._made[name].rows, self._made[output.share_of].rows)
        return self._made

    def _tally(self, name: str, names: tuple[str, ...], first: int) -> Tally:
        groups = {
            other: output
            for other, output in self._declared.items()
            if isinstance(output, Group) and output.of == name
        }
        declared = self._declared[name]
        weights = Weights(self.got) if declared.is_printed else None
        self._tallies[name] = Tally(declared, names, groups, first, weights)
        return self._tallies[name]

    def _output(self, name: str, output: Output, got: Collected) -> OutputData:
        match output:
            case Group():
                return self._group(name, output)
            case Derived():
                lacks = self._derive(name, output)
                return replace(self._kept(name, output), lacks=lacks)
            case Events():
                return self._kept(name, output)
            case OpenSpans():
                return _data(output, _sorted(output, spans.rows_of(output, got)))
            case _:
                found = rows.counted(name, output, got, self._declared) if output.is_printed else []
                return _data(output, _sorted(output, found))

    def _kept(self, name: str, output: Output) -> EventsData:
        tally, reads = self._tallies[name], self._reads[name]
        found = naming.rows(tally.kept.rows(), reads)
        if isinstance(output, Events) and "reason" in reads:
            found = [self._meanwhile.told(row) for row in found]
        data = _data(output, _sorted(output, found), self._lost(name))
        assert isinstance(data, EventsData)
        total = tally.kept.total
        if len(found) == total:
            return data
        return replace(data, total=total, first=kept.FIRST, counts=tally.counts())

    def _group(self, name: str, output: Group) -> OutputData:
        source = self._made[output.of]
        if output.of not in self._tallies:
            return _data(output, grouping.group(output, source.rows), source.lacks)
        tally, reads = self._tallies[output.of], self._reads[output.of]
        found = tally.groups[name]
        if grouping.is_by_process(output):
            reads = naming.by_process(reads, tally.names, self.got)
        lacks = [source.lacks] if source.lacks else []
        if found.left:
            lacks.append(f"more than {grouping.MOST:,} groups: {found.left:,} events are in none")
        if found.uncounted:
            names = ", ".join(output.distinct)
            lacks.append(f"more than {grouping.DISTINCT:,} different values: of {names} not all")
        return _data(output, found.table(reads), "; ".join(lacks))

    def _derive(self, name: str, output: Derived) -> str:
        """Tallies what is derived; returns what it lacks."""
        names = tuple(one.name for one in output.columns)
        tally = self._tally(name, names, kept.FIRST)
        self._reads[name] = {one: naming.reader(names, one) for one in names}
        derive = output.derive
        waits, holds = self._spans(derive.waits), self._spans(derive.holds)
        holds.rows[:] = map(self._meanwhile.told, holds.rows)
        for span in self._made[derive.open].rows if derive.open else ():
            self._add_open(span, waits, holds)
        for batch in _batches(_raws(DERIVATIONS[derive.by](waits, holds), output)):
            tally.add(batch)
        return self._lacking((derive.waits, derive.holds))

    def _spans(self, name: str) -> Rows:
        """The waits or holds of an output, in its order, as far as they were kept."""
        if name not in self._tallies:
            return Rows(more=self._made[name].rows)  # type: ignore[arg-type]
        tally, reads = self._tallies[name], self._reads[name]
        by_process = naming.by_process(reads, tally.names, self.got)
        reads = {**reads, "process": by_process["comm"]} if "comm" in reads else reads
        return Rows(tally.kept.ranked()[: self._most], reads)

    def _add_open(self, span: Any, waits: Rows, holds: Rows) -> None:
        """A span that the window's end cut off counts as a wait or hold of its age."""
        if span["ended"] != "no":
            return
        process = naming.process(span.get("pid"), span.get("tid"), span.get("comm"), self.got)
        spans, length = (waits, "wait_ns") if span["state"] == "wait" else (holds, "hold_ns")
        spans.rows.append({**span, "process": process, length: span["age_ns"]})

    def _lacking(self, names: Iterable[str]) -> str:
        dropped = [n for n in names if n in self._tallies and self._is_cut(self._tallies[n].kept)]
        told = (f"{self._most:,} of {self._tallies[name].kept.total:,} {name}" for name in dropped)
        lost = [self._lost(one) for one in names]
        longest = [f"made of the longest: {', '.join(told)}"] if dropped else []
        return "; ".join([*filter(None, lost), *longest])

    def _is_cut(self, spans: kept.Kept) -> bool:
        return not spans.is_whole or spans.total > self._most

    def _lost(self, name: str) -> str:
        """What of an output was printed and did not come."""
        lost = (self.got.missed() or {}).get(name, 0)
        return f"{lost:,} {name} were lost" if lost else ""

    def _join(self, name: str, behind: str) -> None:
        data = self._made[name]
        assert isinstance(data, EventsData)
        blame.join(data.rows, self._spans(behind))
        self._made[name] = replace(data, lacks=self._lacking([behind]))


def _nameless(data: OutputData) -> OutputData:
    lacks = filter(None, [data.lacks, "names of processes were forgotten: there were too many"])
    return replace(data, lacks="; ".join(lacks))


def _estimate(data: OutputData, sample: int, times: int) -> None:
    """Scales rows up from one lock in `sample`; events stay those that were seen.

    Counts are multiplied by `times`: 1 where the script has weighed them.
    """
    if isinstance(data, EventsData):
        return
    found: list[Any] = [estimates.scaled(row, sample, times) for row in data.rows]
    if isinstance(data, HistogramData):  # its quantiles have an error now
        found = [r | merged([r], r["key"], sample) for r in found]
    data.rows[:] = found


def _spans_of(output: Output) -> list[str]:
    """The outputs whose rows are waits and holds for this one."""
    if isinstance(output, Derived):
        return [output.derive.waits, output.derive.holds]
    return [output.behind] if isinstance(output, Events) and output.behind else []


def _raws(rows: Iterable[Any], output: Output) -> Iterator[Raw]:
    """Rows by the output's columns; lists are made such as may be keys."""
    names = [one.name for one in output.columns]
    lists = [one.name for one in output.columns if one.is_stack or one.type in ("stack", "list")]
    for row in rows:
        for name in lists:
            if type(row.get(name)) is list:
                row[name] = Stack(row[name])
        yield tuple(map(row.get, names))


def _batches(found: Iterator[Raw]) -> Iterator[list[Raw]]:
    return iter(lambda: list(islice(found, BATCH)), [])


def _data(output: Output, found: list[Any], lacks: str = "") -> OutputData:
    return _DATA[output.kind](
        title=output.title,
        unit=output.unit,
        keys=[column.name for column in output.columns],
        rows=found,
        hidden=output.hidden,
        lacks=lacks,
    )


def _sorted(output: Output, found: list[Any]) -> list[Any]:
    """Largest rank first; events without a rank by time."""
    if output.kind == "histogram":
        return found
    rank = rank_of(output)
    sign = 1 if rank == "time_ns" else -1
    return sorted(found, key=lambda row: sign * int(column(row, rank) or 0))
