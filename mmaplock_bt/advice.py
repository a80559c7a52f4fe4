"""What to run next: the rules of an advising output, judged on the result that holds it."""

import operator

from mmaplock_bt import gates, metrics
from mmaplock_bt.result import Result, Row
from mmaplock_bt.template import Output
from mmaplock_bt.units import format_value

_HOLDS = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


def given(result: Result, declared: dict[str, Output]) -> Result:
    """Fills the advising outputs with the first rule that holds; at most one row each."""
    for name, output in declared.items():
        for rule in output.advice:
            row = _row(rule.when, rule.run, rule.why, result, declared)
            if row is not None:
                result.outputs[name].rows.append(row)
                break
    return result


def _row(when: str, run: str, why: str, result: Result, declared: dict[str, Output]) -> Row | None:
    gate = gates.parse(when, declared)
    seen = metrics.observe(gate, result)
    if seen.low is None or not _HOLDS[gate.operator](seen.low, gate.limit):
        return None
    shown = format_value(seen.low, gate.unit or "count")
    return {"run": run, "why": why.replace("{observed}", shown)}
