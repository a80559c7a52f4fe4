"""The report as a page: complete without scripts, with the result in it."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from mmaplock_bt.errors import UsageError
from mmaplock_bt.judging.series import Series
from mmaplock_bt.renderers import findings, stack_weights
from mmaplock_bt.renderers.looks import looks
from mmaplock_bt.renderers.page import (
    blame,
    document,
    facts,
    flame,
    heat,
    sheets,
    spans,
    timeline,
    view,
)
from mmaplock_bt.renderers.page.spans import Spans
from mmaplock_bt.renderers.stack_weights import Weights
from mmaplock_bt.renderers.summary import summaries
from mmaplock_bt.renderers.wording import interval, limit
from mmaplock_bt.result import embedded
from mmaplock_bt.result.model import Result
from mmaplock_bt.units import format_ns, format_value

FIRST = 6  # findings; the others are folded
OPEN = 6  # address spaces
FLAMES = (("held", "time held"), ("waited", "time that others waited"))


def render(series: Series, *, beside: bool = False) -> str:
    """Renders one run, or of several their figures, the gates and the worst run in full.

    The page is one file, or finds its style and scripts `beside` it.
    """
    told = _told(series, findings.worst(series.runs))
    told["embedded"] = Markup(embedded.elements(series.runs))
    return document.written("report.html.j2", told, beside=beside)


def _told(series: Series, run: Result) -> dict[str, Any]:
    found = spans.of(run)
    weights, without = _weights(run)
    drawn, seen = timeline.of(run, found), view.of(run, found, weights)
    return {
        "run": run, "turn": series.runs.index(run) + 1, "runs": facts.runs(series.runs),
        "count": len(series.runs), "medians": _medians(series.runs), "head": facts.head(run),
        "findings": findings.of(run, None), "first": FIRST, "open": OPEN, "looks": looks(run),
        "complete": findings.complete(run), "is_complete": run.loss.complete,
        "losses": [*facts.losses(run)], "notices": [*found.notices, *drawn.notices, *seen.notices],
        "maps": _maps(run, found),
        "axis": found.axis, "timeline": drawn,
        "flames": _flames(weights), "without": without, "lacks": weights.lacks if weights else (),
        "sums": blame.sheet(run), "events": _longest(found), "sheets": sheets.of(run),
        "verdicts": [(one, interval(one), limit(one)) for one in series.verdicts],
        "how": series.how, "facts": [*facts.of(run)], "view": Markup(seen.json),
    }  # fmt: skip


def _maps(run: Result, found: Spans) -> list[heat.HeatMap]:
    """Of all that was counted, and of what was kept one by one."""
    kept = (heat.of_spans(found, one) for one in heat.KINDS)
    return [*heat.of_timeline(run, found.axis), *kept]


def _weights(run: Result) -> tuple[Weights | None, str]:
    try:
        return stack_weights.weighed(Series((run,))), ""
    except UsageError as error:
        return None, str(error)


def _flames(weights: Weights | None) -> list[tuple[str, str, flame.Flame]]:
    """By what stacks are weighed: the time they held the lock, and that others waited for it."""
    of = weights.of.items() if weights else ()
    rows = [(flame.path(stack), (one.hold_ns, one.victim_ns)) for stack, one in of]
    return [(*told, flame.of(rows, turn)) for turn, told in enumerate(FLAMES)]


def _longest(found: Spans) -> sheets.Sheet:
    """The longest spans as a table; scripts fill it from all."""
    ranked = sorted(found.of, key=found.length_ns, reverse=True)
    lines = [
        sheets.Line(
            [sheets.Cell(f"+{format_ns(one.began_ns)}", one.began_ns),
             sheets.Cell(format_ns(found.length_ns(one)), found.length_ns(one)),
             *map(sheets.Cell, (spans.what(one), spans.actor(one), spans.owner(one),
                                spans.cause(one)))],
            one.began_ns, one.ended_ns)
        for one in ranked[: sheets.MOST]
    ]  # fmt: skip
    heads = [("At", True), ("Length", True), ("What", False), ("Who", False), ("Whose lock", False),
             ("Why", False)]  # fmt: skip
    left = len(ranked) - sheets.MOST
    told = [f"The {sheets.MOST:,} longest of {len(ranked):,}."] if left > 0 else []
    return sheets.Sheet("spans", "Holds and waits, one by one", heads, lines, told, [])


def _medians(runs: Sequence[Result]) -> list[list[str]]:
    """Each measure's median, and from what to what it ranges; nothing of a single run."""
    if len(runs) == 1:
        return []

    def written(value: float | None, unit: str) -> str:
        return "-" if value is None else format_value(round(value), unit)

    return [
        [one.metric.text, *(written(end, one.metric.unit or "count")
                            for end in (one.value, one.low, one.high))]
        for one in summaries(runs)
    ]  # fmt: skip
