"""Judges results by gates: pass, fail, undecided or inconclusive; nothing seen never passes."""

import math
from collections.abc import Sequence
from typing import Literal

from mmaplock_bt.result import observe
from mmaplock_bt.result.loss import missing
from mmaplock_bt.result.model import Outcome, Result, Verdict
from mmaplock_bt.result.observe import Reading
from mmaplock_bt.spec import gates
from mmaplock_bt.spec.gates import Gate, Metric, Number
from mmaplock_bt.units import counted

Judge = Literal["median", "worst", "every"]
JUDGES: tuple[Judge, ...] = ("median", "worst", "every")
FAILED, INCONCLUSIVE = 1, 5
# The worst first: it decides over several.
ORDER: tuple[Outcome, ...] = ("fail", "inconclusive", "undecided", "pass")
_FROM_STACKS = ("cause", "kernel_stack", "user_stack")
End = Number | float  # a float is an open end: infinite
Ends = list[End]
_NOT_SEEN = Reading(None, None, 0)


def judge(gate: Gate, result: Result) -> Verdict:
    """Returns the gate's verdict on one result."""
    return _verdict(gate, *_look(gate, result))


def over_runs(gate: Gate, runs: Sequence[Result], how: Judge, asked: int) -> Verdict:
    """Returns the gate's verdict on `asked` repeated runs.

    A run that is inconclusive or missing could have been anything: the median may be known without
    it, 'worst' and 'every' are not.
    """
    looks = [_look(gate, result) for result in runs]
    if asked == len(looks) == 1:
        return _verdict(gate, *looks[0])
    known = [seen for seen, doubt in looks if not doubt]
    doubts = [doubt for _, doubt in looks if doubt] + ["was not made"] * (asked - len(looks))
    doubt = f"{len(doubts)} of {asked} runs: {doubts[0]}" if doubts else ""
    if how == "every":
        return _every(gate, known, doubt)
    lows = sorted([_or(seen.low, -math.inf) for seen in known] + [-math.inf] * len(doubts))
    highs = sorted([_or(seen.high, math.inf) for seen in known] + [math.inf] * len(doubts))
    low, high = _median(lows, highs) if how == "median" else _worst(gate, lows, highs)
    joined = Reading(_end(low), _end(high), min((seen.samples for seen in known), default=0))
    return _verdict(gate, joined, doubt if _decision(gate, joined) == "undecided" else "")


def exit_code(verdicts: Sequence[Verdict]) -> int:
    """Returns 1 where a gate of level error failed, 5 where one did not pass, else 0."""
    outcomes = {verdict.outcome for verdict in verdicts if verdict.level == "error"}
    if "fail" in outcomes:
        return FAILED
    return INCONCLUSIVE if outcomes - {"pass"} else 0


def _verdict(gate: Gate, seen: Reading, doubt: str) -> Verdict:
    outcome: Outcome = "inconclusive" if doubt else _decision(gate, seen)
    place = gate.source
    return Verdict(
        gate=gate.text,
        level=gate.level,
        outcome=outcome,
        observed=[_floor(seen.low), _ceil(seen.high)],
        operator=gate.operator,
        limit=gate.limit,
        unit=_unit(gate.metric),
        samples=seen.samples,
        min_samples=gate.min_samples,
        reason=doubt
        or ("the limit lies inside the observed interval" if outcome == "undecided" else ""),
        file=place.file if place else None,
        line=place.line if place else None,
        column=place.column if place else None,
    )


def _unit(metric: Metric) -> str:
    return "/s" if metric.field == "rate" else metric.unit


def _look(gate: Gate, result: Result) -> tuple[Reading, str]:
    """The reading, and why it is inconclusive, or ''."""
    seen = observe.observe(gate.metric, result)
    return seen, _doubt(gate, seen, result)


def _doubt(gate: Gate, seen: Reading, result: Result) -> str:
    """Why the reading is inconclusive, or ''."""
    looks_at_loss = gate.metric.output == "loss" or gate.metric.text == "books.residue"
    if looks_at_loss and _decision(gate, seen) == "fail":
        return ""  # that something is missing is what it asks about
    few = f"{counted(seen.samples, 'sample')}, fewer than min_samples {gate.min_samples:,}"
    stacks = missing_stacks(gate.metric, result)
    doubts = {
        faults(result): True,
        f"{counted(stacks, 'stack')} missing": stacks > 0,
        "no sample was seen": not seen.samples,
        "it was not measured": not seen.is_measured,
        few: seen.samples < gate.min_samples,
    }
    return next((doubt for doubt, is_so in doubts.items() if doubt and is_so), "")


def faults(result: Result) -> str:
    """Returns what makes a whole result incomplete, missing stacks aside, or ''."""
    window = result.window
    if window.ended_by == "interrupt" and window.command is not None:
        return "the command was interrupted"
    if window.ended_by == "limit":
        return "the window was cut short: tracing cost more than it was allowed to"
    return missing(result, stacks=False)


def missing_stacks(metric: Metric, result: Result) -> int:
    """Returns how many stacks are missing that the metric rests on.

    Counts and times need none, but a cause or a stack in its keys does.
    """
    told = any(key in _FROM_STACKS for key, _ in metric.where)
    return result.loss.stack_errors if told else 0


def _every(gate: Gate, known: list[Reading], doubt: str) -> Verdict:
    """The verdict of the run that decides: the first with the worst outcome."""
    each = [_verdict(gate, seen, "") for seen in known]
    if doubt:
        each.append(_verdict(gate, _NOT_SEEN, doubt))
    return min(each, key=lambda verdict: ORDER.index(verdict.outcome))


def _median(lows: Ends, highs: Ends) -> tuple[End, End]:
    """Of an even number of runs the interval covers both middle ones."""
    return lows[(len(lows) - 1) // 2], highs[len(highs) // 2]


def _worst(gate: Gate, lows: Ends, highs: Ends) -> tuple[End, End]:
    """The largest for < and <=, the smallest for > and >=, all of them for == and !=."""
    if gate.operator in ("<", "<="):
        return lows[-1], highs[-1]
    if gate.operator in (">", ">="):
        return lows[0], highs[0]
    return lows[0], highs[-1]


def _or(end: Number | None, unknown: float) -> End:
    return unknown if end is None else end


def _end(value: End) -> Number | None:
    return None if isinstance(value, float) else value


def _decision(gate: Gate, seen: Reading) -> gates.Decision:
    return gates.decide(gate.operator, seen.low, seen.high, gate.limit)


def _floor(value: Number | None) -> int | None:
    return None if value is None else math.floor(value)


def _ceil(value: Number | None) -> int | None:
    return None if value is None else math.ceil(value)
