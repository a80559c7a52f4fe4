"""Heat maps: how long holds or waits lasted that ended in each part of the window."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

from mmaplock_bt.renderers.page.axis import Axis
from mmaplock_bt.renderers.page.spans import Spans
from mmaplock_bt.renderers.slices import Kind
from mmaplock_bt.result.model import Result
from mmaplock_bt.units import format_ns

COLUMNS = 120
ROW = 10  # px
LABELLED = 3  # every so many rows have their length written beside them
STEPS = 480  # of a histogram over time; of more several make a column
Counts = Mapping[tuple[int, int], int]  # (column, octave) -> how many


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


def of_spans(spans: Spans, kind: Kind) -> HeatMap:
    """Returns the map of the spans that were kept one by one."""
    counts: Counter[tuple[int, int]] = Counter()
    tops: dict[int, int] = {}
    end_ns = spans.axis.end_ns
    for one in spans.of:
        if one.kind == kind:
            ended_ns = end_ns if one.ended_ns is None else one.ended_ns
            column = max(0, min(COLUMNS - 1, ended_ns * COLUMNS // end_ns))
            ns = spans.length_ns(one)
            counts[column, max(0, ns.bit_length() - 1)] += 1
            tops[column] = max(tops.get(column, 0), ns)
    edges = [end_ns * at // COLUMNS for at in range(COLUMNS + 1)]
    return made(f"{kind.capitalize()}s that were kept one by one", kind, Columns(spans.axis, edges),
                counts, tops)  # fmt: skip


def of_timeline(run: Result, axis: Axis) -> list[HeatMap]:
    """Returns a map for each histogram over time, of all that it counted; modes are together."""
    if run.timeline is None:
        return []
    ends_ns, found = run.timeline.ends_ns, []
    several = max(1, -(-len(ends_ns) // STEPS))
    columns = Columns(axis, [0, *ends_ns[several - 1 : -1 : several], *ends_ns[-1:]])
    for name, rows in run.timeline.outputs.items():
        counts: Counter[tuple[int, int]] = Counter()
        for row in rows:
            for step, low, _, count in row["cells"]:
                if 0 <= step < len(ends_ns) and count > 0:
                    counts[step // several, max(0, low.bit_length() - 1)] += count
        title = run.outputs[name].title if name in run.outputs else name
        found.append(made(f"{title}: all of them", name, columns, counts, {}))
    return found


@dataclass(frozen=True)
class Columns:
    """Where columns begin and end, ns since the window's start, on an axis."""

    axis: Axis
    edges_ns: list[int]

    def cell(self, column: int, y: int, shade: float, title: str) -> Cell:
        """Returns a cell; the faintest is still seen."""
        ends = self.edges_ns[column : column + 2]
        x, end = map(self.axis.place, ends)
        when = f"ended at +{format_ns(ends[0])} to +{format_ns(ends[1])}"
        return Cell(x, round(end - x, 4), y, round(0.15 + 0.85 * shade, 3), f"{title}, {when}")


def made(
    title: str, kind: str, columns: Columns, counts: Counts, tops: Mapping[int, int]
) -> HeatMap:
    """Makes a map of counts by (column, octave) and, as far as known, each column's longest, ns."""
    if not counts:
        return HeatMap(title, kind, "none", [], [], [], 0)
    octaves = [octave for _, octave in counts]
    highest, lowest, most = max(octaves), min(octaves), max(counts.values())
    first = 2 if tops else 0

    def y(octave: int) -> int:
        return ROW * (first + highest - octave)

    cells = [
        columns.cell(column, y(octave), sqrt(count / most),
                     f"{count:,} of {format_ns(1 << octave)} to {format_ns(2 << octave)}")
        for (column, octave), count in sorted(counts.items())
    ]  # fmt: skip
    longest = max(tops.values(), default=0)
    maxima = [
        columns.cell(column, 0, sqrt(top / longest) if longest else 1,
                     f"the longest: {format_ns(top)}, exact")
        for column, top in sorted(tops.items())
    ]  # fmt: skip
    labels = [(y(one), format_ns(1 << one)) for one in range(highest, lowest - 1, -LABELLED)]
    parts = [f"{sum(counts.values()):,}"]
    parts += [f"the longest {format_ns(longest)}, exact"] if tops else []
    said = ", ".join([*parts, f"at most {most:,} in one cell"])
    if tops:
        labels.insert(0, (0, "longest"))
    return HeatMap(title, kind, said, cells, maxima, labels, y(lowest) + ROW)
