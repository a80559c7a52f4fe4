"""A moment of a window that is open: what it says so far, and how fast it went since the last."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from mmaplock_bt.analysis.analyse import SoFar
from mmaplock_bt.renderers import findings
from mmaplock_bt.renderers.findings import Said
from mmaplock_bt.result import loss
from mmaplock_bt.result.model import EventsData, Finding, OutputData, Result
from mmaplock_bt.result.rows import Row
from mmaplock_bt.spec.columns import MODES
from mmaplock_bt.spec.outputs import Counted, OpenSpans
from mmaplock_bt.tracing.onlooker import Standing
from mmaplock_bt.units import format_ns

Counts = dict[str, Counter[str]]  # by output and mode


@dataclass(frozen=True)
class Rate:
    """How often a second something was counted, by mode."""

    title: str
    per_s: dict[str, float]


@dataclass(frozen=True)
class Moment:
    """What a window says so far; `open` are the spans that a look has just seen, the oldest first.

    `rates` are since the moment before. `unread` says why the script's counts are not known, `late`
    is how many events have not come that it had printed by the moment before.
    """

    result: Result
    open: list[Row]
    standing: Standing
    rates: list[Rate]
    unread: str
    late: int
    counts: Counts

    @property
    def findings(self) -> list[Said]:
        """The first findings in words, without how sure they are: that all may be more is clear."""
        told = [replace(one, sure="exact") for one in self.found]
        return findings.of(replace(self.result, findings=told))

    @property
    def found(self) -> list[Finding]:
        """The findings so far: that all is calm is said of a whole window only."""
        return [one for one in self.result.findings or [] if one.harm != "calm"]

    @property
    def lost(self) -> str:
        """What is known to be missing; '' where nothing is."""
        late = [f"{self.late:,} events late or lost"] if self.late else []
        return ", ".join([*loss.counted(self.result), *late])

    @property
    def asks_for_open(self) -> bool:
        """Whether the profile looks for open spans."""
        return any(isinstance(one, OpenSpans) for one in self.result.declarations.values())

    @property
    def clock(self) -> str:
        """How long the window has been open, and what is left of it."""
        open_ns, left_ns = self.standing.open_ns, self.standing.left_ns
        left = "" if left_ns is None else f", {left_ns / 1e9:.0f} s left"
        return f"{open_ns / 1e9:.0f} s{left}"

    @property
    def still_open(self) -> str:
        """How many waits and holds are open, and the oldest: '2 waits (1.20 s), no hold'."""
        waits = [row for row in self.open if row["state"] == "wait"]
        holds = [row for row in self.open if row["state"] != "wait"]
        return f"{_number(waits, 'wait')}, {_number(holds, 'hold')}"


def made(found: SoFar, standing: Standing, unread: str, late: int, before: Moment | None) -> Moment:
    """Returns the moment that follows another, or the window's opening."""
    counts = _counts(found.result)
    known: Counts = {}
    since_ns = 0
    if before is not None:
        known, since_ns = before.counts, before.standing.open_ns
    passed_ns = standing.open_ns - since_ns
    rates = [
        Rate(found.result.outputs[name].title, _per_s(now - known.get(name, Counter()), passed_ns))
        for name, now in counts.items()
    ]
    spans = sorted(found.open, key=lambda row: -(row.get("age_ns") or 0))
    return Moment(found.result, spans, standing, rates, unread, late, counts)


def _number(rows: list[Row], what: str) -> str:
    if not rows:
        return f"no {what}"
    longest = format_ns(max(row.get("age_ns") or 0 for row in rows))
    return f"{len(rows):,} {what}{'s' * (len(rows) > 1)} (the oldest {longest})"


def _per_s(counts: Counter[str], passed_ns: int) -> dict[str, float]:
    return {mode: counts[mode] * 1e9 / max(1, passed_ns) for mode in MODES}


def _counts(result: Result) -> Counts:
    """Of histograms, and of what is counted by mode alone; else of the single events."""
    declared, outputs = result.declarations, result.outputs
    by_mode = {name: [c.name for c in one.columns] for name, one in declared.items()}
    by_mode = {name: columns for name, columns in by_mode.items() if "mode" in columns}
    counted = [
        name
        for name, columns in by_mode.items()
        if isinstance(declared[name], Counted)
        and (columns == ["mode"] or declared[name].kind == "histogram")
    ]
    events = [n for n in by_mode if declared[n].is_printed and declared[n].kind == "events"]
    return {name: Counter(dict(_modes(outputs[name]))) for name in counted or events}


def _modes(data: OutputData) -> Iterator[tuple[str, int]]:
    whole = isinstance(data, EventsData) and data.total is None
    rows: list[Any] = data.rows
    if isinstance(data, EventsData) and not whole:
        rows = list(data.counts)
    found: Counter[str] = Counter()
    for row in rows:
        mode = row.get("key", row).get("mode")
        found[mode] += 1 if whole else row.get("count") or 0
    yield from found.items()
