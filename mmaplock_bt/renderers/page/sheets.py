"""Tables of a page: an output's rows, written by its declaration, with what sorts them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mmaplock_bt.escaping import safe
from mmaplock_bt.renderers.text.cells import (
    KEPT,
    PARTIES,
    STACKS,
    cell,
    figure,
    number,
    parties,
    period,
    who,
)
from mmaplock_bt.renderers.text.events import ELSEWHERE, MEASURED
from mmaplock_bt.renderers.text.histograms import interval, key_text, octaves
from mmaplock_bt.renderers.text.tables import HEADS, keys
from mmaplock_bt.result.keeping import kept_by
from mmaplock_bt.result.loss import left_out
from mmaplock_bt.result.model import EventsData, HistogramData, OutputData, Result
from mmaplock_bt.result.rows import HistogramRow, column
from mmaplock_bt.spec.columns import Column
from mmaplock_bt.spec.gates import QUANTILES
from mmaplock_bt.spec.outputs import Output
from mmaplock_bt.units import format_ns, format_value

MOST = 500  # rows of an output
FRAMES = 127  # of a stack
QUEUED = 40  # of a list in a cell


@dataclass(frozen=True)
class Cell:
    """A text, the number by which it is sorted, lines that are folded behind it; good or bad."""

    text: str
    sort: int | None = None
    lines: tuple[str, ...] = ()
    tone: str = ""


@dataclass(frozen=True)
class Line:
    """A row; of an event with its begin and end, ns since the window's start."""

    cells: list[Cell]
    began_ns: int | None = None
    ended_ns: int | None = None


@dataclass(frozen=True)
class Bar:
    """One of a histogram's bars, a power of two; x and width in percent, height in px of 40."""

    x: float
    width: float
    height: float
    title: str


@dataclass(frozen=True)
class Sheet:
    """A table; figures are right-aligned. `charts` has a histogram for each line, or nothing."""

    name: str
    title: str
    heads: list[tuple[str, bool]]  # text, whether it is of figures
    lines: list[Line]
    notices: list[str]
    charts: list[list[Bar]]


def of(run: Result) -> list[Sheet]:
    """Returns the tables of a run's outputs, without those that are material for others."""
    return [
        _sheet(name, output, run.declarations[name])
        for name, output in run.outputs.items()
        if not output.hidden
    ]


def _sheet(name: str, output: OutputData, declared: Output) -> Sheet:
    rows: Sequence[Any] = output.rows[:MOST]
    notices = [text for text in (left_out(output),) if text]
    if len(output.rows) > MOST:
        notices.append(f"The first {MOST:,} of {len(output.rows):,} rows.")
    charts: list[list[Bar]] = []
    match output:
        case HistogramData():
            heads, lines = _HISTOGRAM, [_histogram(row, output.unit) for row in rows]
            charts = [_chart(row, output.unit) for row in rows]
        case EventsData():
            heads, lines = _EVENTS, [_event(row, declared) for row in rows]
        case _:
            heads, lines = _table(rows, declared)
    return Sheet(name, output.title, heads, lines, notices, charts)


_HISTOGRAM = [("Key", False), ("Count", True), ("Total", True), ("Max", True),
              *((name, True) for name in QUANTILES)]  # fmt: skip
_EVENTS = [("At", True), ("Length", True), ("What", False), ("Who", False), ("More", False),
           ("Stack", False)]  # fmt: skip


def _histogram(row: HistogramRow, unit: str) -> Line:
    ends = [row["quantiles"].get(name) for name in QUANTILES]
    quantiles = [Cell("-") if one is None else Cell(interval(one, unit), one.high) for one in ends]
    figures = [
        Cell(figure(row, Column("count")), row["count"]),
        *(Cell(figure(row, Column(name, unit=_column_unit(unit))), column(row, name))
          for name in ("sum", "max")),
    ]  # fmt: skip
    return Line([Cell(key_text(row["key"]) or "all"), *figures, *quantiles])


def _column_unit(unit: str) -> Any:
    return "" if unit == "count" else unit


def _chart(row: HistogramRow, unit: str) -> list[Bar]:
    """A bar for each power of two, as the terminal shows them."""
    counts = octaves(row["buckets"])
    if not counts:  # as in the text: what was lost may have been all of them
        return []
    first, last, most = min(counts), max(counts), max(1, *counts.values())
    width = 100 / (last - first + 1)
    return [
        Bar(round((power - first) * width, 3), round(width, 3),
            max(1.0, round(36 * count / most, 1)) if count > 0 else 0.0,
            f"from {format_value(1 << power if power else 0, unit)}: {count:,}")
        for power, count in sorted(counts.items())
    ]  # fmt: skip


def _table(rows: Sequence[Any], declared: Output) -> tuple[list[tuple[str, bool]], list[Line]]:
    """A column for each that is declared; what kept a holder is one, and so are all stacks."""
    told = [*keys(declared), *declared.figures]
    alone = [one for one in told if one.name not in (*KEPT, *STACKS)]
    shared = [(head, made) for head, names, made in _SHARED if any(c.name in names for c in told)]
    heads = [(_head(one), one in declared.figures and one.type == "int") for one in alone]
    flat = ({**row, **row["key"]} for row in rows)
    return [*heads, *((head, False) for head, _ in shared)], [
        Line([*(_cell(row, one) for one in alone), *(made(row) for _, made in shared)])
        for row in flat
    ]


def _kept(row: Any) -> Cell:
    return Cell(kept_by(row) or "-")


def _head(one: Column) -> str:
    return HEADS.get(one.name, one.name.removesuffix("_ns").replace("_", " "))


def _cell(row: Any, one: Column) -> Cell:
    value = column(row, one.name)
    if isinstance(value, int):
        is_id = not one.unit and one.name in PARTIES
        return Cell(cell(value, one) if is_id else figure(row, one), value)
    return Cell(cell(value, one))


def stack(row: Any) -> Cell:
    """Returns a cell with a row's stacks: the innermost frame, all of them folded behind it."""
    lines: list[str] = []
    for name in STACKS:
        frames = column(row, name) or []
        if frames and lines:
            lines.append(f"-- {name.replace('_', ' ')}")
        lines += [safe(one) for one in frames[:FRAMES]]
        if len(frames) > FRAMES:
            lines.append(f"… and {len(frames) - FRAMES:,} frames more")
    return Cell(lines[0], None, tuple(lines)) if lines else Cell("-")


# Columns of a table that share a cell: their head, their names, what makes the cell of a row.
_SHARED = [("kept by", KEPT, _kept), ("stack", STACKS, stack)]


def _event(row: Any, declared: Output) -> Line:
    names = [one.name for one in declared.columns]
    length = next((n for n in MEASURED if n in names and column(row, n) is not None), None)
    at_ns, ns = column(row, "time_ns"), column(row, length) if length else None
    began_ns = at_ns - (ns or 0) if at_ns is not None else None
    cells = [
        Cell("-" if began_ns is None else f"+{format_ns(began_ns)}", began_ns),
        Cell(number(ns, "ns"), ns),
        Cell(_what(row, declared, length)),
        Cell(parties(row, names)),
        Cell(_more(row, declared), None, tuple(_listed(row))),
        stack(row),
    ]
    return Line(cells, began_ns, at_ns)


def _what(row: Any, declared: Output, length: str | None) -> str:
    """Mode, kind, and why."""
    mode = row.get("mode") or getattr(declared, "mode", None) or ""
    kind = row.get("state") or (length or "event").removesuffix("_ns")
    ended = {"yes": "ended since", "no": "still open"}.get(row.get("ended") or "")
    why = [row.get("label"), row.get("cause"), (kept := kept_by(row)) and f"kept by {kept}",
           row.get("certainty") == "likely" and "likely, not certain"]  # fmt: skip
    return ", ".join(safe(one) for one in (f"{mode} {kind}".strip(), ended, *why) if one)


def _more(row: Any, declared: Output) -> str:
    """The columns that no other cell shows."""
    return ", ".join(
        f"{_head(one)} {cell(column(row, one.name), one)}"
        for one in declared.columns
        if one.name not in ELSEWHERE
    )


def _listed(row: Any) -> Iterator[str]:
    """The holds that a wait was behind, and who queued in a convoy."""
    lists: tuple[tuple[str, str], ...] = (("behind", "overlap_ns"), ("queued", "wait_ns"))
    for name, length in lists:
        some = row.get(name) or []
        for one in some[:QUEUED]:
            kind = f"of a {safe(one['mode'])} hold of {format_ns(one['hold_ns'])} by" if (
                name == "behind") else f"{safe(one['mode'])} wait of"  # fmt: skip
            yield f"{name} {format_ns(one[length])} {kind} {who(one['comm'], one['pid'])}"
        if len(some) > QUEUED:
            yield f"… and {len(some) - QUEUED:,} more"
    if row.get("period_ns"):
        yield period(row)
