"""What to run next: the rules of an advising output, judged on the result that holds it."""

from mmaplock_bt.result import observe
from mmaplock_bt.result.model import Result, Row
from mmaplock_bt.spec import gates
from mmaplock_bt.spec.declaration import Output
from mmaplock_bt.units import format_value


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
    seen = observe.observe(gate.metric, result)
    if not seen.is_measured:
        return None
    if gates.decide(gate.operator, seen.low, seen.low, gate.limit) != "pass":
        return None
    shown = format_value(int(seen.low or 0), gate.metric.unit or "count")
    return {"run": run, "why": why.replace("{observed}", shown)}
