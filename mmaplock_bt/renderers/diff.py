"""Two series of runs as a page: the changes, heat maps on one scale, stacks by how they differ."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from markupsafe import Markup

from mmaplock_bt.errors import UsageError
from mmaplock_bt.judging import verdicts
from mmaplock_bt.judging.comparison import Change, Comparison
from mmaplock_bt.renderers import changes
from mmaplock_bt.renderers.page import document, facts, flame, heat, rates, sheets, spans, view
from mmaplock_bt.renderers.page.axis import Axis
from mmaplock_bt.renderers.page.heat import Columns, Counted, HeatMap
from mmaplock_bt.renderers.page.rates import Rates
from mmaplock_bt.renderers.page.sheets import Cell, Line, Sheet
from mmaplock_bt.renderers.page.spans import Spans
from mmaplock_bt.renderers.wording import followed, interval, limit
from mmaplock_bt.result.model import Result
from mmaplock_bt.units import counted, format_ns

SCRIPTS = ("common.js", "tables.js", "flame.js")
SIDES = ("base", "new")
# (id, text, columns of rates): the first is how wide, the other what it is compared with.
FLAMES = (
    ("held-new", "time held, as wide as new", (1, 0)),
    ("held-base", "time held, as wide as base", (0, 1)),
    ("waited-new", "time that others waited, as wide as new", (3, 2)),
    ("waited-base", "time that others waited, as wide as base", (2, 3)),
)
Both = tuple[Sequence[Result], Sequence[Result]]


def render(made: Comparison, *, beside: bool = False) -> str:
    """Renders a comparison; pictures are of the runs that the changes were found in.

    The page is one file, or finds its style and scripts `beside` it.
    """
    return document.written("diff.html.j2", _told(made), SCRIPTS, beside=beside)


def _told(made: Comparison) -> dict[str, Any]:
    both = _sound(made.base), _sound(made.new)
    kept = tuple([spans.of(run) for run in runs] for runs in both)
    axis = Axis(max(one.axis.end_ns for some in kept for one in some))
    found, without = _rates(both)
    told = [
        *(one for runs in both for run in runs for one in followed(run)),
        *(one for some in kept for run in some for one in run.notices),
        *found.lacks,
    ]
    return {
        "name": made.new[-1].profile.name, "title": changes.windows(made), "notes": made.notes,
        "summary": summary(made), "changes": _changes(made.changes),
        "verdicts": [(one, interval(one), limit(one)) for one in made.verdicts],
        "lengths": _lengths(both), "axis": axis,
        "maps": [*_timelines(both, axis), *_kept(kept, axis)],
        "per": found.said, "without": without, "stacks": rates.sheet(found),
        "flames": [(name, text, flame.of(found.of.items(), *columns, per=found.per))
                   for name, text, columns in FLAMES],
        "levels": _levels(), "runs": _runs(made), "notices": list(dict.fromkeys(told)),
        "facts": [one for one in facts.of(made.new[-1]) if one[0] in ("Machine", "What was asked")],
        "view": Markup(view.of_weights(found.of.items(), found.per)), "embedded": "",
    }  # fmt: skip


def summary(made: Comparison) -> str:
    """Says in a sentence what the changes come to."""
    shown = sum(one.is_shown for one in made.changes)
    tested = sum(one.p is not None for one in made.changes)
    if not made.changes:
        return "No measure was seen in these runs."
    if not tested:
        return f"No change can be told from chance: {made.changes[0].reason}."
    many = f"{shown} of {counted(tested, 'measure')}" if shown else f"None of {tested} measures"
    return f"{many} changed by more than chance and the tolerance explain."


def _sound(runs: Sequence[Result]) -> Sequence[Result]:
    """The complete runs; all of them where none is."""
    return [run for run in runs if not verdicts.faults(run)] or runs


def _lengths(both: Both) -> str:
    """Says how long the windows were: what is empty behind their end was not traced."""
    told = []
    for runs in both:
        ends = sorted(run.window.duration_ns for run in runs)
        told.append(" to ".join(dict.fromkeys(format_ns(one) for one in (ends[0], ends[-1]))))
    return "The windows of base last {}, those of new {}.".format(*told)


def _changes(found: Sequence[Change]) -> Sheet:
    heads = [(head, head != changes.HEADS[0]) for head in changes.HEADS]
    lines = [Line([*_cells(one)]) for one in found[: sheets.MOST]]
    left = len(found) - sheets.MOST
    told = [f"The first {sheets.MOST:,} of {len(found):,} rows."] if left > 0 else []
    return Sheet("changes", "Measures, by the runs' medians", heads, lines, told, [])


def _cells(one: Change) -> Iterator[Cell]:
    sort = [None, one.base, one.new, one.change, one.interval and one.interval[0], one.p]
    # Shown as in the terminal: more is red, less green; the sign says so, too.
    tone = ("bad" if (one.change or 1) > 0 else "good") if one.is_shown else ""
    for turn, text in enumerate(changes.cells_of(one)):
        key = sort[turn] if turn < len(sort) else None
        scaled = None if key is None else round(key * 10**6)
        yield Cell(text, scaled, tone=tone if turn == 3 else "")


def _timelines(both: Both, axis: Axis) -> Iterator[HeatMap]:
    """Of every histogram over time, all that it counted."""
    told = [run for runs in both for run in runs if run.timeline]
    if not told:
        return
    # Of windows of several lengths the longest has the widest steps.
    steps = max((run.timeline.ends_ns for run in told if run.timeline), key=lambda ends: ends[-1:])
    columns = Columns.of(axis, steps)
    for name in dict.fromkeys(n for run in told if run.timeline for n in run.timeline.outputs):
        counts = [heat.counted_steps(runs, name, columns) for runs in both]
        yield from _pair(heat.title(told[0], name), name, counts)


def _kept(both: tuple[list[Spans], ...], axis: Axis) -> Iterator[HeatMap]:
    for kind in heat.KINDS:
        counts = [heat.counted_spans(some, kind, axis) for some in both]
        yield from _pair(heat.kept(kind), kind, counts)


def _pair(title: str, kind: str, both: Sequence[Counted]) -> Iterator[HeatMap]:
    """Base and new, on one scale."""
    scale = heat.Scale.of(both)
    for side, one in zip(SIDES, both, strict=True):
        yield heat.drawn(f"{title}, {side}", kind, one, scale)


def _rates(both: Both) -> tuple[Rates, str]:
    try:
        return rates.of(*both), ""
    except UsageError as error:
        return Rates({}, "", "", []), str(error)


def _levels() -> list[tuple[str, str]]:
    """The colours of differences in words, from less to more."""
    bounds = [1 / (1 - share) for share in flame.SHARES]
    more = [f"{one:.3g} to {two:.3g} times" for one, two in itertools.pairwise(bounds)]
    more.append(f"{bounds[-1]:.3g} times and more")
    less = [(f"less{turn}", f"less: {text}") for turn, text in enumerate(more, 1)]
    return [*reversed(less), ("same", f"within {bounds[0]:.3g} times"),
            *((f"more{turn}", f"more: {text}") for turn, text in enumerate(more, 1))]  # fmt: skip


def _runs(made: Comparison) -> list[list[str]]:
    return [
        [side, *row, run.window.start]
        for side, runs in zip(SIDES, (made.base, made.new), strict=True)
        for run, row in zip(runs, facts.runs(runs), strict=False)
    ]
