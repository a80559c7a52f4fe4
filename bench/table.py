"""The figures as Markdown."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from bench.bars import Verdict, verdicts
from bench.contenders import BASE, OURS
from bench.figures import Figure, figures
from bench.record import Record
from bench.scenarios import MAIN, SCENARIOS
from mmaplock_bt.escaping import safe

UNKNOWN = "–"
COLUMNS = 118
WORDS = {True: "kept", False: "**missed**", None: "not measured"}


@dataclass(frozen=True)
class Line:
    """What was measured under one name, with each bpftrace that it was measured with."""

    what: str
    parts: tuple[Figure, ...]

    @property
    def refusal(self) -> str | None:
        """A sentence where no part of it traces."""
        refusals = [part.refusal for part in self.parts]
        return refusals[0] if all(refusals) else None

    @property
    def least(self) -> float:
        """What lines are sorted by: the dearest last, what was not measured after it."""
        known = [part.ratio for part in self.parts if part.ratio is not None]
        return min(known, default=float("inf"))


def lines(found: Sequence[Figure], scenario: str) -> list[Line]:
    """Returns a scenario's figures by what was measured, cheapest first."""
    chosen = [figure for figure in found if figure.scenario == scenario]
    names = dict.fromkeys(figure.what for figure in chosen)
    told = [Line(name, tuple(one for one in chosen if one.what == name)) for name in names]
    return sorted(told, key=lambda line: line.least)


def price_table(told: Sequence[Line]) -> str:
    """What a lock costs more, and the ratio; several bpftraces in one cell, in their order."""
    versions = _versions(told)
    by = f" (bpftrace {' / '.join(versions)})" if versions else ""
    rows = [(f"what{by}", "added ns", "ratio"), ("---", "---:", "---:")]
    rows += [(_name(line.what), *_cells(line)) for line in told]
    return _markdown(rows)


def scenario_table(found: Sequence[Figure], scenarios: Sequence[str]) -> str:
    """Ratios of every contender in every scenario; the added ns where there is no ratio."""
    titles = {scenario.name: scenario.title for scenario in SCENARIOS}
    rows = [("what", "bpftrace", *(titles[name] for name in scenarios))]
    rows += [("---", "---", *("---:" for _ in scenarios))]
    by_name = {(one.what, one.by, one.scenario): one for one in found}
    for what, by in dict.fromkeys((one.what, one.by) for one in found):
        cells = [_both(by_name[what, by, name]) for name in scenarios]
        rows.append((_name(what), by, *cells))
    return _markdown(rows)


def report(record: Record, picture: str) -> str:
    """The whole result for people: where, how, both tables, what refused. `picture`: a file."""
    found = figures(record)
    told = lines(found, MAIN)
    parts = [_heading(record), f"![The ratios as a plot]({picture})", price_table(told)]
    if len(record.scenarios) > 1:
        parts += ["## Every scenario: added ns, ratio", scenario_table(found, record.scenarios)]
    parts += [bar_table(found), _refusals(record)]
    return "\n\n".join(part for part in parts if part) + "\n"


def bar_table(found: Sequence[Figure]) -> str:
    """Which of the project's limits are kept."""
    told = verdicts(found)
    rows: list[tuple[str, ...]] = [("what", "bpftrace", "at most", "of", "found", "")]
    rows += [("---", "---", "---:", "---", "---:", "---")]
    rows += [_bar(one) for one in told]
    return f"## Bars\n\n{_markdown(rows)}" if told else ""


def _bar(one: Verdict) -> tuple[str, ...]:
    word = WORDS[one.is_met]
    times = UNKNOWN if one.found is None else f"{one.found:.2f}"
    return _escaped(one.what), one.by, f"{one.limit:.2f}", _escaped(one.against), times, word


def legend(record: Record) -> str:
    """What the figures are, in a sentence or two."""
    rounds = max((turn.round for turn in record.turns), default=0)
    noisy = sum(bool(turn.noise) for turn in record.turns)
    told = (
        f"CPU time that one uncontended read lock and unlock takes longer, and its ratio to "
        f"*{BASE}* in the same rounds: medians of {rounds} interleaved rounds."
    )
    return textwrap.fill(f"{told} {_of_noise(noisy, len(record.turns))}".strip(), COLUMNS)


def _of_noise(noisy: int, turns: int) -> str:
    if not noisy:
        return ""
    return f"~: no round was quiet ({noisy} of {turns} turns were noisy, after repetition)."


def _heading(record: Record) -> str:
    kind = "quick" if record.quick else "full"
    places = [f"- {name}: {text}" for name, text in record.environment.items()]
    return "\n".join([f"# What tracing costs ({kind} bench)", "", *places, "", legend(record)])


def _refusals(record: Record) -> str:
    told = [f"- {name}: {sentence}" for name, sentence in record.refusals.items()]
    return "\n".join(["## Did not trace", "", *map(_escaped, told)]) if told else ""


def _versions(told: Sequence[Line]) -> list[str]:
    return list(dict.fromkeys(part.by for line in told for part in line.parts if part.by))


def _name(what: str) -> str:
    text = _escaped(what)
    return f"**{text}**" if what.startswith(OURS) or what == BASE else text


def _cells(line: Line) -> tuple[str, str]:
    if line.refusal is not None:
        return _escaped(line.refusal), ""
    return " / ".join(map(_added, line.parts)), " / ".join(map(_ratio, line.parts))


def _both(figure: Figure) -> str:
    if figure.refusal is not None:
        return UNKNOWN
    ratio = _ratio(figure)
    return _added(figure) if ratio == UNKNOWN else f"{_added(figure)}, {ratio}"


def _added(figure: Figure) -> str:
    if figure.added_ns is None:
        return UNKNOWN
    return f"{'~' if figure.noisy else ''}{figure.added_ns:+,.0f}"


def _ratio(figure: Figure) -> str:
    return UNKNOWN if figure.ratio is None else f"{figure.ratio:.2f}"


def _escaped(text: str) -> str:
    """A sentence of another program stays in its cell."""
    return (
        safe(text)
        .replace("\\", "\\\\")
        .replace("|", "\\|")
        .replace("<", "&lt;")
        .replace("*", "\\*")
    )


def _markdown(rows: Sequence[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
