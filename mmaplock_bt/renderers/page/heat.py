"""Heat maps: how long holds or waits lasted that ended in each part of the window."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import sqrt

from mmaplock_bt.renderers.page.axis import Axis
from mmaplock_bt.renderers.page.spans import Spans
from mmaplock_bt.renderers.slices import Kind
from mmaplock_bt.result.model import Result, Timeline
from mmaplock_bt.units import counted, format_ns

COLUMNS = 120
ROW = 10  # px
LABELLED = 3  # every so many rows have their length written beside them
STEPS = 480  # of a histogram over time; of more several make a column
KINDS: tuple[Kind, ...] = ("hold", "wait")


@dataclass(frozen=True)
class Cell:
    """A rectangle of the map; x and width in percent, y in px, shade from 0 to 1."""

    x: float
    width: float
    y: int
    shade: float
    title: str


@dataclass(frozen=True)
class HeatMap:
    """Rows are powers of two, the longest on top, below the row of exact maxima."""

    title: str
    kind: str
    said: str
    cells: list[Cell]
    tops: list[Cell]
    labels: list[tuple[int, str]]  # y in px, length
    height: int


@dataclass(frozen=True)
class Columns:
    """Where columns begin and end, ns since the window's start, on an axis."""

    axis: Axis
    edges_ns: list[int]

    @classmethod
    def even(cls, axis: Axis, least_ns: int = 1) -> "Columns":
        """Returns COLUMNS of one width, fewer where that would be less than `least_ns`."""
        count = max(1, min(COLUMNS, axis.end_ns // max(1, least_ns)))
        return cls(axis, [axis.end_ns * at // count for at in range(count + 1)])

    @classmethod
    def of(cls, axis: Axis, ends_ns: list[int]) -> "Columns":
        """Returns a column for each step of a timeline, or for several."""
        several = max(1, -(-len(ends_ns) // STEPS))
        return cls(axis, [0, *ends_ns[several - 1 : -1 : several], *ends_ns[-1:]])

    def at(self, ns: int) -> int:
        """Returns the column of a moment."""
        return max(0, min(len(self.edges_ns) - 2, bisect_right(self.edges_ns, ns) - 1))

    def cell(self, column: int, y: int, shade: float, title: str) -> Cell:
        """Returns a cell; the faintest is still seen."""
        ends = self.edges_ns[column : column + 2]
        x, end = map(self.axis.place, ends)
        when = f"ended at +{format_ns(ends[0])} to +{format_ns(ends[1])}"
        return Cell(x, round(end - x, 4), y, round(0.15 + 0.85 * shade, 3), f"{title}, {when}")


@dataclass(frozen=True)
class Counted:
    """Of so many runs how many ended by (column, octave); each column's longest where known, ns."""

    columns: Columns
    runs: int = 1
    counts: Counter[tuple[int, int]] = field(default_factory=Counter)
    tops: dict[int, int] = field(default_factory=dict)

    def add(self, at_ns: int, ns: int, count: int = 1) -> int:
        """Adds what lasted at least so long, and returns its column."""
        column = self.columns.at(at_ns)
        self.counts[column, max(0, ns.bit_length() - 1)] += count
        return column


def of_spans(spans: Spans, kind: Kind) -> HeatMap:
    """Returns the map of the spans that were kept one by one."""
    return drawn(kept(kind), kind, counted_spans([spans], kind, spans.axis))


def kept(kind: Kind) -> str:
    """Returns the title of a map of spans."""
    return f"{kind.capitalize()}s that were kept one by one"


def counted_spans(series: Sequence[Spans], kind: Kind, axis: Axis) -> Counted:
    """Counts the spans of several runs, each since its window's start."""
    found = Counted(Columns.even(axis), len(series))
    for spans in series:
        for one in spans.of:
            if one.kind == kind:
                ended_ns = spans.axis.end_ns if one.ended_ns is None else one.ended_ns
                ns = spans.length_ns(one)
                column = found.add(ended_ns, ns)
                found.tops[column] = max(found.tops.get(column, 0), ns)
    return found


def of_timeline(run: Result, axis: Axis) -> list[HeatMap]:
    """Returns a map for each histogram over time, of all that it counted; modes are together."""
    if run.timeline is None:
        return []
    columns = Columns.of(axis, run.timeline.ends_ns)
    return [drawn(title(run, name), name, counted_steps([run], name, columns))
            for name in run.timeline.outputs]  # fmt: skip


def title(run: Result, name: str) -> str:
    """Returns the title of a map of all that a histogram counted."""
    return f"{run.outputs[name].title if name in run.outputs else name}: all of them"


def counted_steps(runs: Sequence[Result], name: str, columns: Columns) -> Counted:
    """Counts what a histogram over time did in several runs, each since its window's start."""
    told = [run.timeline for run in runs if run.timeline and name in run.timeline.outputs]
    found = Counted(columns, len(told))
    for timeline in told:
        for at_ns, low, count in _steps(timeline, name):
            found.add(at_ns, low, count)
    return found


def _steps(timeline: Timeline, name: str) -> Iterator[tuple[int, int, int]]:
    """(the step's middle, least length, how many)."""
    begins_ns = [0, *timeline.ends_ns]
    for row in timeline.outputs[name]:
        for step, low, _, count in row["cells"]:
            if 0 <= step < len(timeline.ends_ns) and count > 0:
                yield (begins_ns[step] + begins_ns[step + 1]) // 2, low, count


@dataclass(frozen=True)
class Scale:
    """What maps that are compared have in common: rows, and the shades of a run's counts."""

    lowest: int
    highest: int
    most: float  # of a run in a cell
    longest_ns: int

    @classmethod
    def of(cls, found: Iterable[Counted]) -> "Scale":
        """Returns the scale on which all of these can be drawn."""
        some = [one for one in found if one.counts]
        octaves = [octave for one in some for _, octave in one.counts] or [0]
        most = max((max(one.counts.values()) / one.runs for one in some), default=1)
        longest_ns = max((top for one in some for top in one.tops.values()), default=0)
        return cls(min(octaves), max(octaves), most, longest_ns)


def drawn(title: str, kind: str, found: Counted, scale: Scale | None = None) -> HeatMap:
    """Draws what was counted, on a scale of its own or a common one."""
    if not found.counts:
        return HeatMap(title, kind, "none", [], [], [], 0)
    scale = scale or Scale.of([found])
    first = 2 if scale.longest_ns else 0

    def y(octave: int) -> int:
        return ROW * (first + scale.highest - octave)

    cells = [
        found.columns.cell(column, y(octave), sqrt(count / found.runs / scale.most),
                           f"{count:,} of {format_ns(1 << octave)} to {format_ns(2 << octave)}"
                           f"{_a_run(count, found.runs)}")
        for (column, octave), count in sorted(found.counts.items())
    ]  # fmt: skip
    maxima = [
        found.columns.cell(column, 0, sqrt(top / (scale.longest_ns or 1)),
                           f"the longest: {format_ns(top)}, exact")
        for column, top in sorted(found.tops.items())
    ]  # fmt: skip
    rows = range(scale.highest, scale.lowest - 1, -LABELLED)
    labels = [(y(one), format_ns(1 << one)) for one in rows]
    if first:
        labels.insert(0, (0, "longest"))
    return HeatMap(title, kind, _said(found), cells, maxima, labels, y(scale.lowest) + ROW)


def _a_run(count: int, runs: int) -> str:
    return f", {count / runs:,.3g} a run" if runs > 1 else ""


def _said(found: Counted) -> str:
    many = f" in {counted(found.runs, 'run')}" if found.runs > 1 else ""
    longest = f", the longest {format_ns(max(found.tops.values()))}, exact" if found.tops else ""
    most = max(found.counts.values())
    return f"{sum(found.counts.values()):,}{many}{longest}, at most {most:,} in one cell"
