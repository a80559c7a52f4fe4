"""The report as a page: one file that loads nothing, complete without scripts, with the result."""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from markupsafe import Markup

from mmaplock_bt.errors import UsageError
from mmaplock_bt.escaping import safe
from mmaplock_bt.judging.series import Series
from mmaplock_bt.renderers import findings, price, stack_weights
from mmaplock_bt.renderers.looks import looks
from mmaplock_bt.renderers.page import blame, flame, heat, sheets, spans, timeline, view
from mmaplock_bt.renderers.page.spans import Spans
from mmaplock_bt.renderers.slices import Kind
from mmaplock_bt.renderers.stack_weights import Weights
from mmaplock_bt.renderers.summary import summaries
from mmaplock_bt.renderers.wording import acquisitions, followed, interval, limit
from mmaplock_bt.result import embedded
from mmaplock_bt.result.loss import left_out, missing
from mmaplock_bt.result.model import Result
from mmaplock_bt.units import format_ns, format_value, how_ended

PARTS = "mmaplock_bt.renderers.page"
SCRIPTS = ("common.js", "tables.js", "flame.js", "range.js")
KINDS: tuple[Kind, ...] = ("hold", "wait")
# Light enough for black letters, on a dark page, too.
COLORS = {"all": "#d9d9d9", "actor": "#c9d3e6", "user": "#bfe3b4", "kernel": "#f6d58a"}
FIRST = 6  # findings; the others are folded
OPEN = 6  # address spaces
_RUNS = 200


def render(series: Series) -> str:
    """Renders one run, or of several their figures, the gates and the worst run in full."""
    run = findings.worst(series.runs)
    style, *scripts = map(_part, ("page.css", *SCRIPTS))
    text = _template().render(
        **_told(series, run),
        policy=_policy(style, scripts),
        style=Markup(style),
        scripts=list(map(Markup, scripts)),
        embedded=Markup(embedded.elements(series.runs)),
    )
    return text.rstrip("\n") + "\n"


@cache
def _template() -> Template:
    """Everything that is filled in is text: printable, and then escaped."""
    made = Environment(loader=FunctionLoader(_part), autoescape=True, undefined=StrictUndefined,
                       trim_blocks=True, lstrip_blocks=True, finalize=_printable)  # fmt: skip
    made.filters |= {"ns": format_ns, "grouped": "{:,}".format, "sentence": _sentence}
    made.globals["colors"] = COLORS
    return made.get_template("page.html.j2")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _printable(value: Any) -> Any:
    return safe(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _part(name: str) -> str:
    return files(PARTS).joinpath(name).read_text(encoding="utf-8")


def _policy(style: str, scripts: Sequence[str]) -> str:
    """Forbids every load, and every script and style but the page's own."""
    hashes = " ".join(map(_hash, scripts))
    return (
        f"default-src 'none'; script-src {hashes}; style-src {_hash(style)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _told(series: Series, run: Result) -> dict[str, Any]:
    found = spans.of(run)
    weights, without = _weights(run)
    drawn = timeline.of(run, found)
    return {
        "run": run, "turn": series.runs.index(run) + 1, "runs": _runs(series.runs),
        "count": len(series.runs), "medians": _medians(series.runs), "head": _head(run),
        "findings": findings.of(run, None), "first": FIRST, "open": OPEN, "looks": looks(run),
        "complete": findings.complete(run), "is_complete": run.loss.complete,
        "losses": [*_losses(run)], "notices": [*found.notices, *drawn.notices],
        "maps": [*heat.of_timeline(run, found.axis), *(heat.of_spans(found, one) for one in KINDS)],
        "axis": found.axis, "timeline": drawn,
        "flames": _flames(weights), "without": without, "lacks": weights.lacks if weights else (),
        "sums": blame.sheet(run), "events": _longest(found), "sheets": sheets.of(run),
        "verdicts": [(one, interval(one), limit(one)) for one in series.verdicts],
        "how": series.how, "facts": [*_facts(run)], "view": Markup(view.of(run, found, weights)),
    }  # fmt: skip


def _weights(run: Result) -> tuple[Weights | None, str]:
    try:
        return stack_weights.weighed(Series((run,))), ""
    except UsageError as error:
        return None, str(error)


def _flames(weights: Weights | None) -> list[tuple[str, str, flame.Flame]]:
    """By what stacks are weighed: the time they held the lock, and that others waited for it."""
    of = weights.of.items() if weights else ()
    return [
        ("held", "time held", flame.of((stack, one.hold_ns) for stack, one in of)),
        (
            "waited",
            "time that others waited",
            flame.of((stack, one.victim_ns) for stack, one in of),
        ),
    ]


def _head(run: Result) -> list[str]:
    window, target = run.window, run.target
    parts = [
        f"{format_ns(window.duration_ns)} from {window.start}",
        f"ended by {window.ended_by.replace('_', ' ')}",
        acquisitions([run]),
        f"Linux {target.kernel}",
        f"bpftrace {target.bpftrace}",
    ]
    if window.command is not None:
        argv = " ".join(window.command.argv)
        parts.append(f"{argv[:500]}: {how_ended(window.command.status)}")
    return parts


def _losses(run: Result) -> Iterator[str]:
    """What the first sentence does not say: the books, what was not followed, left out, said."""
    if run.books.residue:
        yield (
            f"The books do not balance: {run.books.residue:,} lock events have no partner, so that "
            "many waits or holds are missing or wrong."
        )
    if run.window.failure:
        yield run.window.failure
    yield from followed(run)
    for name, output in run.outputs.items():
        if told := left_out(output):
            yield f"{output.title} ({name}): {told}."
    yield from (f"bpftrace said: {one}" for one in run.messages)


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


def _runs(runs: Sequence[Result]) -> list[list[str]]:
    return [
        [str(turn), format_ns(run.window.duration_ns), acquisitions([run]),
         missing(run) or "complete", price.share(run)]
        for turn, run in enumerate(runs[:_RUNS], 1)
    ]  # fmt: skip


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


def _facts(run: Result) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Books, machine, what was asked, what it cost: (heading, [(name, value)])."""
    books = [(_name(name), _value(value, name)) for name, value in vars(run.books).items()]
    yield "Books", books
    target = run.target
    yield "Machine", [
        ("kernel", target.kernel), ("architecture", target.arch),
        ("CPUs", str(target.cpus)), ("bpftrace", target.bpftrace),
        ("facts", _value(target.facts, "facts")),
    ]  # fmt: skip
    info = run.profile
    yield "What was asked", [
        ("profile", info.name), ("template", info.template),
        *((_name(name), _value(value, name)) for name, value in info.params.items()),
        ("filter", _value(info.filter, "filter")),
        ("locks followed", f"{info.locks}, 1 in {info.sample:,}"),
        ("script's sha256", info.sha256),
    ]  # fmt: skip
    loss = [(_name(name), _value(value, name)) for name, value in vars(run.loss).items()]
    yield "Loss", loss
    yield "Cost", [("of this window", price.told(run) or "not told"),
                   ("written by", f"{run.tool.name} {run.tool.version}")]  # fmt: skip


def _name(name: str) -> str:
    return name.removesuffix("_ns").replace("_", " ")


def _value(value: Any, name: str) -> str:
    """A figure as people write it; what is none as it is, within bounds."""
    if value is None:
        return "not measured"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return format_ns(value) if name.endswith("_ns") else f"{value:,}"
    if isinstance(value, dict):
        parts = [f"{_name(str(key))} {_value(one, str(key))}" for key, one in value.items()]
        return ", ".join(parts)[:2000] or "none"
    return str(value)[:2000]
