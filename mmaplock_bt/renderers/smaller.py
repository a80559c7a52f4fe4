"""github-action-benchmark's customSmallerIsBetter: only what is better when it is smaller."""

import json

from mmaplock_bt.escaping import safe
from mmaplock_bt.judging.series import Series
from mmaplock_bt.renderers.summary import Summary, summaries
from mmaplock_bt.units import counted


def render(series: Series) -> str:
    """Renders the measures for github-action-benchmark as JSON."""
    found = [_entry(one, series) for one in summaries(series.runs) if _is_better(one, series)]
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def _is_better(one: Summary, series: Series) -> bool:
    """Times, and counts of events; more acquisitions alone are not worse."""
    if one.metric.field != "count":
        return one.metric.unit == "ns"
    outputs = (run.outputs.get(one.metric.output) for run in series.runs)
    return all(output is None or output.kind == "events" for output in outputs)


def _entry(one: Summary, series: Series) -> dict[str, str | float]:
    entry: dict[str, str | float] = {
        "name": safe(f"{series.last.profile.name}/{one.metric.text}"),
        "unit": one.metric.unit or "events",
        "value": one.value,
        "extra": _extra(one, series),
    }
    if one.low is not None and one.high is not None:
        entry["range"] = f"± {(one.high - one.low) / 2:.10g}"
    return entry


def _extra(one: Summary, series: Series) -> str:
    target = series.last.target
    told = f"{counted(one.samples, 'sample')}, {counted(len(series.runs), 'run')}"
    return safe(f"{told}, Linux {target.kernel}, {target.traced_by}")
