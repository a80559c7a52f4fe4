"""A job's summary in Markdown: verdicts, loss, the main numbers."""

import re
from collections.abc import Iterable, Sequence

from mmaplock_bt.escaping import safe
from mmaplock_bt.judging.series import Series
from mmaplock_bt.renderers import findings, price
from mmaplock_bt.renderers.summary import Summary, key_of, summaries
from mmaplock_bt.renderers.wording import acquisitions, followed, interval, limit
from mmaplock_bt.result.loss import left_out, missing
from mmaplock_bt.result.model import Result, Verdict
from mmaplock_bt.units import counted, format_ns, format_value, how_ended

LIMIT_BYTES = 1024 * 1024  # GitHub drops a step's whole summary beyond this
COMMAND = 200
_CUT = "\nThe rest was cut off here: a summary holds no more than 1,024 KiB.\n"
_MARKS = {"pass": "✅", "fail": "❌", "undecided": "⚠️", "inconclusive": "⚠️"}
_GATES = ("Outcome", "Gate", "Observed", "Limit", "Samples", "Reason")
_FIELDS = {"count": "Count", "p50": "p50", "p99": "p99", "max": "Max", "sum": "Total"}
# Nothing in it is Markdown, HTML, a link, a mention or an emoji's name.
_PLAIN = re.compile(
    r"(?!.*www\.)(?:[a-z0-9 ,;%()+./–≤≥µ×-]|(?<=[a-z])_(?=[a-z])|:(?= |$)"
    r"|(?<=[a-z0-9])\[\d+\](?![\[(:]))*",  # a process: no definition makes a link of it
    re.IGNORECASE,
)
_BARS = re.compile(r"(\\*)\|")


def render(series: Series) -> str:
    """Renders the series as Markdown of at most LIMIT_BYTES."""
    verdicts = gates(series.verdicts, series.how)
    complete = _complete(series.runs) + _cost(series.runs)
    found = _findings(findings.worst(series.runs))
    parts = (
        _head(series),
        found,
        verdicts,
        complete,
        _numbers(series.runs),
        _left_out(series.runs),
    )
    return shortened("\n\n".join(part for part in parts if part) + "\n", LIMIT_BYTES)


def shortened(text: str, room: int) -> str:
    """Cuts text at the end of a line to `room` bytes of UTF-8, with a sentence that says so.

    Empty where not even the sentence fits.
    """
    data = text.encode()
    if len(data) <= room:
        return text
    left = room - len(_CUT.encode())
    if left < 0:
        return ""
    return data[: data.rfind(b"\n", 0, left) + 1].decode() + _CUT


def code(text: str) -> str:
    """Returns text from outside as a code span, which only its own fence could end."""
    inside = safe(text)
    longest = max(map(len, re.findall("`+", inside)), default=0)
    fence = "`" * (longest + 1)
    edges = inside[:1] + inside[-1:]
    pad = " " if "`" in edges or edges == "  " else ""
    return f"{fence}{pad}{inside}{pad}{fence}" if inside else ""


def words(text: str) -> str:
    """Returns text from outside unchanged where it is harmless, else as a code span."""
    return text if _PLAIN.fullmatch(text) else code(text)


def _findings(result: Result) -> str:
    """A numbered list; a command is a code span."""
    lines = []
    for number, one in enumerate(findings.of(result), 1):
        parts = [words(one.sentence), words(one.remedy), code(one.command)]
        lines.append(f"{number}. {'<br>'.join(part for part in parts if part)}")
    if left := findings.left(result):
        lines.append(f"{len(lines) + 1}. and {left:,} smaller")
    return "\n".join(lines)


def _head(series: Series) -> str:
    result, count = series.last, len(series.runs)
    parts = [
        f"Linux {words(result.target.kernel)}",
        words(result.target.traced_by),
        counted(count, "run"),
        *_command(result),
    ]
    return f"## mmaplock-bt: {words(result.profile.name)}\n\n{' · '.join(parts)}"


def _command(result: Result) -> Iterable[str]:
    if result.window.command is None:
        return
    argv = " ".join(result.window.command.argv)
    shown = argv if len(argv) <= COMMAND else argv[: COMMAND - 1] + "…"
    yield f"{code(shown)}: {how_ended(result.window.command.status)}"


def gates(verdicts: Sequence[Verdict], how: str = "") -> str:
    """Returns the verdicts as a Markdown table."""
    if not verdicts:
        return "No gates."
    head = f"Gates ({how}):\n\n" if how else ""
    return head + table(_GATES, [_gate(said) for said in verdicts])


def _gate(said: Verdict) -> list[str]:
    is_warning = said.level == "warn"
    mark = "⚠️" if is_warning and said.outcome != "pass" else _MARKS[said.outcome]
    return [
        f"{mark} {said.outcome}{' (warn)' if is_warning else ''}",
        code(said.gate),
        words(interval(said)),
        words(limit(said)),
        f"{said.samples:,}",
        words(said.reason),
    ]


def _numbers(runs: Sequence[Result]) -> str:
    """A line for each key; empty where nothing was measured."""
    found: dict[str, dict[str, Summary]] = {}
    for one in summaries(runs):
        found.setdefault(key_of(one.metric), {})[one.metric.field] = one
    if not found:
        return ""
    lines = table(("Measure", *_FIELDS.values()), [_line(k, one) for k, one in found.items()])
    median = f"; medians of {len(runs)} runs" if len(runs) > 1 else ""
    return f"{lines}\n\nQuantiles are the upper ends of their intervals{median}."


def _line(key: str, fields: dict[str, Summary]) -> list[str]:
    return [code(key), *(_number(fields.get(field)) for field in _FIELDS)]


def _number(found: Summary | None) -> str:
    if found is None:
        return "–"
    about = "~" if found.is_estimate else ""
    return about + words(format_value(int(found.value), found.metric.unit))


def _complete(runs: Sequence[Result]) -> str:
    """The loss: one line where nothing is missing, else one for each such run."""
    faults = {turn: missing(run) for turn, run in enumerate(runs, 1) if missing(run)}
    seconds = format_ns(sum(run.window.duration_ns for run in runs))
    head = f"{acquisitions(runs)} in {seconds}"
    notes = "".join(f"\n\n{words(sentence)}" for sentence in followed(runs[-1]))
    if not faults:
        return f"Complete: no loss is known and the books balance; {head}.{notes}"
    lines = [f"- ⚠️ run {turn}: INCOMPLETE: {words(fault)}" for turn, fault in faults.items()]
    several = f"Incomplete: {len(faults)} of {counted(len(runs), 'run')}; {head}:"
    return "\n".join([several, "", *lines]) + notes


def _cost(runs: Sequence[Result]) -> str:
    """In full for a single run, else the dearest one's share."""
    if len(runs) == 1:
        said = price.told(runs[0])
        return f"\n\nCost: {words(said)}." if said else ""
    dearest = max(runs, key=lambda run: (run.cost and run.cost.ppm) or 0)
    share = price.share(dearest)
    return f"\n\nCost: {words(share)} in the dearest run." if share else ""


def _left_out(runs: Sequence[Result]) -> str:
    """A line for each output of a run that is not made of all; the numbers above count all."""
    return "\n".join(
        f"- run {turn}, {words(name)}: {words(found)}"
        for turn, run in enumerate(runs, 1)
        for name, output in run.outputs.items()
        if not output.hidden and (found := left_out(output))
    )


def table(heads: Sequence[str], rows: Iterable[list[str]]) -> str:
    """Returns a Markdown table; cells may hold bars."""
    return "\n".join(map(_row, (heads, ["---"] * len(heads), *rows)))


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(_BARS.sub(_bar, cell) for cell in cells)} |"


def _bar(found: re.Match[str]) -> str:
    """An odd number of backslashes before a bar keeps it in its cell, for every reader."""
    return found[1] + ("\\\\|" if len(found[1]) % 2 else "\\|")
