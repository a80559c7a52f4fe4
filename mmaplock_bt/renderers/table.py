"""The terminal report: findings first, then the outputs, then whether all was seen."""

import textwrap
from collections.abc import Sequence

from rich.console import Console, RenderableType
from rich.text import Text

from mmaplock_bt.escaping import safe
from mmaplock_bt.judging.series import Series
from mmaplock_bt.renderers import console, findings, price
from mmaplock_bt.renderers.looks import looks
from mmaplock_bt.renderers.text.events import events
from mmaplock_bt.renderers.text.histograms import histograms
from mmaplock_bt.renderers.text.spread import spread
from mmaplock_bt.renderers.text.tables import table
from mmaplock_bt.renderers.wording import acquisitions, followed
from mmaplock_bt.result.loss import left_out, missing
from mmaplock_bt.result.model import Books, EventsData, HistogramData, Result
from mmaplock_bt.units import format_ns, how_ended

ROOM = 17  # lines for findings: a screen has 24
LOOKED = 9  # lines of a look at sleeping threads
Line = tuple[str, str]  # what it is part of, its text
_STYLES = {"says": "bold"}
WORTH_TELLING = 10  # percent of the window without a CPU


def render(
    series: Series, *, color: bool = False, detail: int = 0, width: int = console.WIDTH
) -> str:
    """Renders one run, or several as a line each, and the verdicts.

    Without `color` the text holds no escape sequence. `detail` is how much is shown beyond the
    first screen: 1 tables, all findings and the books, 2 histograms, too.
    """
    out = console.make(color=color, width=width)
    if len(series.runs) == 1:
        _run(series.last, out, detail)
    else:
        _runs(series.runs, out)
    if series.verdicts:
        out.print()
        console.gates(series.verdicts, out, series.how)
    return console.text(out)


def _run(result: Result, out: Console, detail: int) -> None:
    out.print(title([result]))
    _findings(result, out, None if detail else findings.FIRST)
    _looks(result, out, detail)
    for name, output in result.outputs.items():
        if not output.hidden and result.declarations[name].detail <= detail:
            out.print()
            out.print(Text(safe(f"{output.title} ({name})"), style="bold"))
            out.print(_body(name, result), no_wrap=True, overflow="ellipsis")
            if found := left_out(output):
                out.print(Text(f"  {safe(found)}", style="bold yellow"), soft_wrap=False)
    out.print()
    for message in result.messages:
        out.print(Text(f"bpftrace: {safe(message)}"), soft_wrap=True)
    if detail or not result.loss.complete or result.books.residue:
        _account(result, out)
    else:
        out.print(Text(findings.complete(result), style="dim"), soft_wrap=False)
        _hint(result, out)


def _findings(result: Result, out: Console, most: int | None) -> None:
    """Each with its number; what helps and the next command below it."""
    found = findings.of(result, most)
    if not found:
        return
    out.print()
    texts = [_finding(one, number, out.width) for number, one in enumerate(found, 1)]
    for lines in texts if most is None else _fitting(texts):
        for style, line in lines:
            out.print(Text(safe(line), style=_STYLES.get(style, "")), soft_wrap=True)
    if left := findings.left(result, most):
        out.print(Text(f"   … and {left:,} smaller (-v shows all)", style="dim"))


def _looks(result: Result, out: Console, detail: int) -> None:
    lines = looks(result)
    shown = lines if detail else lines[:LOOKED]
    if shown:
        out.print()
    for line in shown:
        out.print(Text(line), soft_wrap=True)
    if left := len(lines) - len(shown):
        out.print(Text(f"  … and {left:,} lines more (-v shows all)", style="dim"))


def _finding(one: findings.Said, number: int, width: int) -> list[Line]:
    """A finding's lines, each with what it is part of; no name from outside begins one."""
    indent, first = "   ", f"{number}  "
    told = [("says", _wrapped(one.sentence, first, indent, width))]
    if one.remedy:
        told.append(("helps", _wrapped(f"helps: {one.remedy}", indent, indent, width)))
    if one.command:  # in one line, however long: it is pasted
        told.append(("next", [f"{indent}next:  {one.command}"]))
    return [(part, line) for part, lines in told for line in lines]


def _wrapped(text: str, first: str, indent: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=indent,
                         break_on_hyphens=False)  # fmt: skip


def _fitting(texts: list[list[Line]]) -> list[list[Line]]:
    """As many lines as a screen has room for: remedies go first, then commands, the last ones'."""
    for part in ("helps", "next"):
        for at in reversed(range(len(texts))):
            if sum(map(len, texts)) > ROOM:
                texts[at] = [line for line in texts[at] if line[0] != part]
    return texts


def _hint(result: Result, out: Console) -> None:
    """Which option shows what is not shown."""
    details = {one.detail for one in result.declarations.values() if not one.hidden}
    options = [
        text for at, text in ((1, "-v: tables"), (2, "-vv: histograms, too")) if at in details
    ]
    if options:
        out.print(Text(f"More with {', '.join(options)}.", style="dim"))


def _account(result: Result, out: Console) -> None:
    """What was followed, the books, the loss and the cost, in full."""
    for sentence in followed(result):
        out.print(Text(sentence, style="dim"))
    out.print(Text(_books(result.books)), soft_wrap=False)
    if (percent := int(100 * (result.window.cpu_wait_share or 0))) >= WORTH_TELLING:
        out.print(Text(f"CPU:   for {percent} % of the window some task waited for one"))
    out.print(Text(_loss(result), style="" if result.loss.complete else "bold red"))
    if told := price.told(result):
        out.print(Text(textwrap.fill(f"cost:  {told}", out.width, subsequent_indent=" " * 7)))


def _runs(runs: Sequence[Result], out: Console) -> None:
    out.print(title(runs))
    out.print()
    for turn, result in enumerate(runs, 1):
        command = result.window.command
        status = "" if command is None else f", {how_ended(command.status)}"
        found = missing(result)
        loss = f"INCOMPLETE: {found}" if found else "complete"
        share = price.share(result)
        cost = f", cost {share}" if share else ""
        out.print(
            Text(
                f"  {turn:>3}  {format_ns(result.window.duration_ns)}{status}, "
                f"{acquisitions([result])}, {loss}{cost}"
            )
        )
    out.print(spread(runs))
    worst = findings.worst(runs)
    if worst.findings:
        out.print()
        out.print(Text(f"The worst run's findings (run {runs.index(worst) + 1}):", style="bold"))
        _findings(worst, out, findings.FIRST)


def title(runs: Sequence[Result]) -> Text:
    """Returns the profile, the window or number of runs, the machine and the command."""
    window, target = runs[-1].window, runs[-1].target
    text = Text(safe(runs[-1].profile.name), style="bold")
    ended_by = window.ended_by.replace("_", " ")
    windows = f"{format_ns(window.duration_ns)}, ended by {ended_by}"
    text.append(
        f"  {windows if len(runs) == 1 else f'{len(runs)} runs'}"
        f"  ·  Linux {safe(target.kernel)}  ·  {safe(target.traced_by)}",
        style="dim",
    )
    if window.command is not None:
        argv = safe(" ".join(window.command.argv))
        shown = argv if len(argv) <= 70 else argv[:69] + "…"
        status = f": {how_ended(window.command.status)}" if len(runs) == 1 else ""
        text.append(f"\n{shown}{status}", style="dim")
    return text


def _body(name: str, result: Result) -> RenderableType:
    output, declared = result.outputs[name], result.declarations[name]
    if not output.rows:
        return Text("  none seen", style="dim")
    match output:
        case HistogramData():
            return histograms(output, result.window.duration_ns)
        case EventsData():
            return events(output, declared)
        case _:
            return table(output, declared)


# The two equations, and what stands beside them.
_ASKED = (("starts", "downgrades"), ("acquires", "failed", "open_waits"))
_HELD = (("acquires",), ("releases", "downgrades", "open_holds"))
_WORDS = {"orphan_releases": "begun before the window", "spinning": "with a writer spinning behind"}


def _books(books: Books) -> str:
    if not books.are_kept:
        return "books: not measured (bpftrace ended without printing its maps)"
    told = {
        name: f"{_WORDS.get(name, name.replace('_', ' '))} {count:,}"
        for name, count in vars(books).items()
        if count is not None
    }
    sides = _ASKED if "starts" in told else _HELD
    first = [" + ".join(told.pop(name) for name in side if name in told) for side in sides]
    residue = told.pop("residue")
    line = f"books: {' = '.join(first)};\n       {', '.join([*told.values(), residue])}"
    if books.residue:
        line += (
            f"\n       The books do not balance: {books.residue:,} lock events have no partner, so "
            "that many\n       waits or holds are missing or wrong above."
        )
    return line


def _loss(result: Result) -> str:
    found = missing(result)
    return f"loss:  INCOMPLETE: {found}" if found else "loss:  none known"
