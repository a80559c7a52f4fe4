"""Advice: what to run next, by an output's rules on the result that holds it."""

from mmaplock_bt.result.model import EventsData, Result
from mmaplock_bt.result.observe import observe
from mmaplock_bt.result.rows import Row
from mmaplock_bt.spec import gates
from mmaplock_bt.spec.outputs import Advice, Rule
from mmaplock_bt.units import format_value


def give(result: Result) -> None:
    """Fills the outputs of advice, each with the first of its rules that holds."""
    for name, output in result.declarations.items():
        data = result.outputs[name]
        if isinstance(output, Advice) and isinstance(data, EventsData):
            held = (_row(rule, result) for rule in output.advice)
            data.rows.extend([row for row in held if row is not None][:1])


def _row(rule: Rule, result: Result) -> Row | None:
    shown = observed(rule.when, result)
    if shown is None:
        return None
    return {"run": rule.run, "why": rule.why.replace("{observed}", shown)}


def observed(condition: str, result: Result) -> str | None:
    """Returns the figure that a gate's text is about, where it holds; None where it does not."""
    gate = gates.parse(condition, result.declarations)
    seen = observe(gate.metric, result)
    if not seen.is_measured:
        return None
    # Judged by the low end, which the sentence shows.
    if gates.decide(gate.operator, seen.low, seen.low, gate.limit) != "pass":
        return None
    return format_value(int(seen.low or 0), gate.metric.unit or "count")
