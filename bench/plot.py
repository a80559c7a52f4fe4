"""The figures as a picture: a line for each contender, a dot for each bpftrace, by ratio."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from bench.figures import Figure
from bench.table import Line
from mmaplock_bt.escaping import safe

TEMPLATE = Path(__file__).with_name("plot.svg.j2")
LEFT, RIGHT, WIDTH = 420, 900, 930  # the axis from, to; the picture's
TOP, ROW = 64, 20
FLOOR, CEILING = 0.01, 100.0  # the axis; beyond, a dot lies on its end


@dataclass(frozen=True)
class Dot:
    x: float
    low: float
    high: float
    kind: int  # which bpftrace; 0 is none
    title: str


@dataclass(frozen=True)
class Drawn:
    """One line: its label, where it stands, and either dots or a sentence."""

    label: str
    y: int
    is_base: bool
    dots: tuple[Dot, ...]
    sentence: str


def at(ratio: float) -> float:
    """Returns the place of a ratio on the axis."""
    inside = min(max(ratio, FLOOR), CEILING)
    share = math.log(inside / FLOOR) / math.log(CEILING / FLOOR)
    return round(LEFT + share * (RIGHT - LEFT), 1)


def picture(told: Sequence[Line], base: str, caption: str) -> str:
    """Returns the SVG. Every text in it is escaped."""
    versions = sorted({part.by for line in told for part in line.parts if part.by})
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    bottom = TOP + ROW * len(told)
    ticks = [(at(value), f"{value:g}") for value in (0.01, 0.1, 0.3, 1, 3, 10, 100)]
    return environment.from_string(TEMPLATE.read_text("utf-8")).render(
        lines=[_drawn(line, number, base, versions) for number, line in enumerate(told)],
        ticks=ticks, versions=list(enumerate(versions, 1)), caption=safe(caption), one=at(1),
        left=LEFT, width=WIDTH, top=TOP, bottom=bottom, height=bottom + 34,
    )  # fmt: skip


def _drawn(line: Line, number: int, base: str, versions: list[str]) -> Drawn:
    dots = tuple(
        _dot(part, part.ratio, versions.index(part.by) + 1 if part.by else 0)
        for part in line.parts
        if part.ratio is not None
    )
    sentence = "" if dots else (line.refusal or "not compared: the C peer was not measured")
    return Drawn(
        safe(line.what), TOP + ROW * number + ROW // 2, line.what == base, dots, safe(sentence)[:90]
    )


def _dot(part: Figure, ratio: float, kind: int) -> Dot:
    low, high = (ratio if end is None else end for end in (part.low, part.high))
    added = "" if part.added_ns is None else f"{part.added_ns:+,.0f} ns, "
    title = f"{f'bpftrace {part.by}: ' if part.by else ''}{added}{ratio:.2f}"
    return Dot(at(ratio), at(low), at(high), kind, title)
