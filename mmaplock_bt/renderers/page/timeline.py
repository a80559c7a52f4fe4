"""The timeline: a picture for each address space, holds above waits, convoys as brackets."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mmaplock_bt.analysis import convoys
from mmaplock_bt.analysis.naming import Rows
from mmaplock_bt.analysis.overlaps import Holds, Span
from mmaplock_bt.escaping import safe
from mmaplock_bt.renderers import slices
from mmaplock_bt.renderers.page.axis import Axis
from mmaplock_bt.renderers.page.spans import Spans, actor, told
from mmaplock_bt.renderers.slices import Slice
from mmaplock_bt.renderers.text.cells import who
from mmaplock_bt.result.model import Result
from mmaplock_bt.spec.outputs import Derived
from mmaplock_bt.units import counted, format_ns

SPACES = 24
LANES = 40  # of holds, and as many of waits
LANE, HEAD = 16, 18  # px
TEXT = 6.0  # percent of the width that make room for a name
NARROWEST = 0.08  # percent: what is shorter is still seen
_NEEDED = {"mode", "tid", "pid", "comm", "mm", "time_ns"}


@dataclass(frozen=True)
class Bar:
    """A hold or a wait; `x` and `width` in percent, `y` in px, `number` its place in Spans.of."""

    number: int
    span: Slice
    x: float
    width: float
    y: int
    title: str

    @property
    def name(self) -> str:
        """What is written on it; empty where there is no room."""
        return actor(self.span) if self.width >= TEXT else ""


@dataclass(frozen=True)
class Link:
    """A line from a hold (`top`) down to a writer's wait that was behind it, px."""

    hold: int
    wait: int
    x: float
    at_ns: int
    top: int
    bottom: int


@dataclass(frozen=True)
class Bracket:
    """A convoy: the numbers of the reader's hold and of the waits that queued behind it."""

    hold: int
    waits: list[int]
    said: str
    x: float
    width: float
    y: int
    began_ns: int
    ended_ns: int

    @property
    def has_room(self) -> bool:
        """Whether its words can be written on it."""
        return self.width >= TEXT


@dataclass(frozen=True)
class _Convoy:
    """A convoy's row with those of its spans that are drawn; it ends with the last of them."""

    hold: Slice
    queued: list[Slice]
    row: Any
    ended_ns: int

    @property
    def began_ns(self) -> int:
        """When its hold began."""
        return self.hold.began_ns


@dataclass(frozen=True)
class Space:
    """An address space with what is drawn of it; heights in px."""

    title: str
    said: str
    axis: Axis
    bars: list[Bar]
    links: list[Link]
    brackets: list[Bracket]
    waits_y: int
    height: int


@dataclass(frozen=True)
class Timeline:
    """Address spaces, the one with the longest waits first; notices tell what is not drawn."""

    spaces: list[Space]
    notices: list[str]


def of(run: Result, spans: Spans) -> Timeline:
    """Returns the timeline of a run's spans."""
    by_mm: defaultdict[str, list[int]] = defaultdict(list)
    for number, one in enumerate(spans.of):
        by_mm[one.mm].append(number)

    def weight(mm: str) -> tuple[int, int]:
        total = {"wait": 0, "hold": 0}
        for number in by_mm[mm]:
            total[spans.of[number].kind] += spans.length_ns(spans.of[number])
        return total["wait"], total["hold"]

    ranked = sorted(by_mm, key=weight, reverse=True)
    rows = _convoys(run, spans)
    notices: list[str] = []
    found = [_space(by_mm[mm], spans, rows[mm], notices) for mm in ranked[:SPACES]]
    if (left := len(ranked) - SPACES) > 0:
        notices.append(f"{counted(left, 'further address space')} with shorter waits: no room.")
    return Timeline(found, notices)


def _space(numbers: list[int], spans: Spans, rows: list[Any], notices: list[str]) -> Space:
    drawn = [spans.of[number] for number in numbers]
    number_of = dict(zip(drawn, numbers, strict=True))
    holds, waits = ([one for one in drawn if one.kind == kind] for kind in ("hold", "wait"))
    title = _title(drawn)
    above, below = (_lanes(some, title, notices) for some in (holds, waits))
    found = [_convoy(row, holds, waits, spans) for row in rows[:LANES]]
    if len(rows) > LANES:
        notices.append(f"{title}: of {len(rows):,} convoys the first {LANES} have brackets.")
    tied = slices.lanes(one for one in found if one is not None)
    between = HEAD + LANE * len(above)
    waits_y = between + LANE * len(tied) + 4
    bars = [
        _bar(number_of[one], one, y + LANE * turn, spans)
        for y, some in ((HEAD, above), (waits_y, below))
        for turn, lane in enumerate(some)
        for one in lane
    ]
    brackets = [
        _bracket(one, number_of, between + LANE * turn, spans)
        for turn, lane in enumerate(tied)
        for one in lane
    ]
    said = f"{counted(len(holds), 'hold')}, {counted(len(waits), 'wait')}"
    return Space(title, said, spans.axis, bars, list(_links(bars, spans)), brackets, waits_y,
                 waits_y + LANE * max(1, len(below)) + 4)  # fmt: skip


def _title(drawn: Sequence[Slice]) -> str:
    """The owner, as far as any row tells it, and the address."""
    row = next((one.row for one in drawn if one.row.get("owner_pid")), drawn[0].row)
    mm = drawn[0].mm
    owner = who(row.get("owner_comm"), row.get("owner_pid"))
    return f"{owner}, mm {safe(mm)}" if mm else owner


def _lanes(some: list[Slice], title: str, notices: list[str]) -> list[list[Slice]]:
    found = slices.lanes(some)
    left = sum(map(len, found[LANES:]))
    if left:
        notices.append(f"{title}: {counted(left, some[0].kind)} beyond {LANES} at once: no room.")
    return found[:LANES]


def _bar(number: int, one: Slice, y: int, spans: Spans) -> Bar:
    x = spans.axis.place(one.began_ns)
    width = max(NARROWEST, round(spans.axis.place(one.ended_ns) - x, 4))
    return Bar(number, one, x, width, y, told(one, spans.length_ns(one)))


def _links(bars: list[Bar], spans: Spans) -> Iterator[Link]:
    """From each writer's wait to the hold that covers most of it."""
    known, of = _index([bar for bar in bars if bar.span.kind == "hold"], spans)
    for bar in bars:
        if bar.span.kind == "wait" and bar.span.row.get("mode") == "write":
            wait = _span(bar.span, spans)
            hold = max(known.over(wait), key=wait.overlap_ns, default=None)
            if hold is not None:
                at_ns = max(hold.began_ns, wait.began_ns)
                yield Link(of[hold].number, bar.number, spans.axis.place(at_ns), at_ns,
                           of[hold].y + LANE - 3, bar.y)  # fmt: skip


def _index(bars: list[Bar], spans: Spans) -> tuple[Holds, dict[Span, Bar]]:
    of = {_span(bar.span, spans): bar for bar in bars}
    return Holds.index(of), of


def _span(one: Slice, spans: Spans) -> Span:
    ended_ns = spans.axis.end_ns if one.ended_ns is None else one.ended_ns
    return Span(one.row, one.mm, one.row.get("tid"), one.began_ns, ended_ns)


def _convoys(run: Result, spans: Spans) -> defaultdict[str, list[Any]]:
    """The run's own convoys by address space, or those that its kept holds and waits tell."""
    names = [name for name, one in run.declarations.items()
             if isinstance(one, Derived) and one.derive.by == "convoys"]  # fmt: skip
    if names:
        rows: list[Any] = [row for name in names for row in run.events(name)]
    else:
        told = [one for one in spans.of if one.row.keys() >= _NEEDED]
        holds, waits = ([_ended(one, spans) for one in told if one.kind == kind]
                        for kind in ("hold", "wait"))  # fmt: skip
        rows = convoys.find(Rows(more=waits), Rows(more=holds)) if holds and waits else []
    found = defaultdict(list)
    for row in rows:
        found[row.get("mm") or ""].append(row)
    return found


def _ended(one: Slice, spans: Spans) -> Any:
    """Its row as that of a span that ends, at the latest with the window."""
    ns = spans.length_ns(one)
    return {**one.row, f"{one.kind}_ns": ns, "time_ns": one.began_ns + ns}


def _convoy(row: Any, holds: list[Slice], waits: list[Slice], spans: Spans) -> _Convoy | None:
    """The drawn spans that a row names; None where its hold is not drawn."""
    at_ns = (row.get("time_ns") or 0) - (row.get("hold_ns") or 0)
    # Holds are by begin.
    first = bisect_left(holds, at_ns, key=lambda one: one.began_ns)
    hold = next((one for one in holds[first:] if one.row.get("tid") == row.get("tid")), None)
    if hold is None or hold.began_ns != at_ns:
        return None
    names = {(one["tid"], one["wait_ns"]) for one in row.get("queued") or ()}
    queued = [one for one in waits if hold.meets(one)
              and (one.row.get("tid"), spans.length_ns(one)) in names]  # fmt: skip
    ended_ns = max(one.began_ns + spans.length_ns(one) for one in (hold, *queued))
    return _Convoy(hold, queued, row, ended_ns) if queued else None


def _bracket(tied: _Convoy, number_of: dict[Slice, int], y: int, spans: Spans) -> Bracket:
    hold, row = tied.hold, tied.row
    x = spans.axis.place(hold.began_ns)
    width = round(spans.axis.place(tied.ended_ns) - x, 4)
    waits = [number_of[one] for one in tied.queued]
    return Bracket(
        number_of[hold], waits, _said(hold, row), x, width, y, hold.began_ns, tied.ended_ns
    )


def _said(hold: Slice, row: Any) -> str:
    writer = who(row.get("writer_comm"), row.get("writer_pid"))
    readers = counted(row.get("readers") or 0, "reader")
    return (
        f"convoy: {actor(hold)} held to read for {format_ns(row.get('hold_ns') or 0)}, "
        f"the writer {writer} thread {row.get('writer_tid')} waited "
        f"{format_ns(row.get('writer_wait_ns') or 0)} behind it, {readers} behind the writer, "
        f"{format_ns(row.get('readers_wait_ns') or 0)} together"
    )
