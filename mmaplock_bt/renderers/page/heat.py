"""The heat map: how long holds or waits lasted that ended in each part of the window."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

from mmaplock_bt.renderers.page.axis import Axis
from mmaplock_bt.renderers.page.spans import Spans
from mmaplock_bt.renderers.slices import Kind
from mmaplock_bt.units import counted, format_ns

COLUMNS = 120
ROW = 10  # px
LABELLED = 3  # every so many rows have their length written beside them
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

    kind: Kind
    said: str
    cells: list[Cell]
    tops: list[Cell]
    labels: list[tuple[int, str]]  # y in px, length
    height: int


def of_spans(spans: Spans, kind: Kind) -> HeatMap:
    """Returns the map of the spans that were kept one by one."""
    counts: Counter[tuple[int, int]] = Counter()
    tops: dict[int, int] = {}
    for one in spans.of:
        if one.kind == kind:
            ended_ns = spans.axis.end_ns if one.ended_ns is None else one.ended_ns
            column = max(0, min(COLUMNS - 1, ended_ns * COLUMNS // spans.axis.end_ns))
            ns = spans.length_ns(one)
            counts[column, max(0, ns.bit_length() - 1)] += 1
            tops[column] = max(tops.get(column, 0), ns)
    return made(kind, spans.axis, counts, tops)


def made(kind: Kind, axis: Axis, counts: Counts, tops: Mapping[int, int]) -> HeatMap:
    """Makes a map of counts by (column, octave) and each column's longest in ns."""
    if not counts:
        return HeatMap(kind, f"no {kind}s", [], [], [], 0)
    octaves = [octave for _, octave in counts]
    highest, lowest, most = max(octaves), min(octaves), max(counts.values())

    def y(octave: int) -> int:
        return ROW * (2 + highest - octave)

    cells = [
        _cell(column, y(octave), sqrt(count / most), axis,
              f"{counted(count, kind)} of {format_ns(1 << octave)} to {format_ns(2 << octave)}")
        for (column, octave), count in sorted(counts.items())
    ]  # fmt: skip
    longest = max(tops.values())
    maxima = [
        _cell(column, 0, sqrt(top / longest) if longest else 1, axis,
              f"the longest {kind}: {format_ns(top)}, exact")
        for column, top in sorted(tops.items())
    ]  # fmt: skip
    labels = [(y(one), format_ns(1 << one)) for one in range(highest, lowest - 1, -LABELLED)]
    said = (
        f"{counted(sum(counts.values()), kind)}, the longest {format_ns(longest)}; "
        f"at most {most:,} in one cell"
    )
    return HeatMap(kind, said, cells, maxima, labels, y(lowest) + ROW)


def _cell(column: int, y: int, shade: float, axis: Axis, title: str) -> Cell:
    ends = [axis.end_ns * at // COLUMNS for at in (column, column + 1)]
    when = f"ended at +{format_ns(ends[0])} to +{format_ns(ends[1])}"
    # The faintest is still seen.
    return Cell(round(100 * column / COLUMNS, 4), round(100 / COLUMNS, 4), y,
                round(0.15 + 0.85 * shade, 3), f"{title}, {when}")  # fmt: skip
