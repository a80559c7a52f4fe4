"""The numbers of a series that have a name in every run: what is exported and compared."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mmaplock_bt.result import observe
from mmaplock_bt.result.model import OutputData, Result
from mmaplock_bt.result.observe import Observed
from mmaplock_bt.spec.columns import STANDARD
from mmaplock_bt.spec.gates import Metric, Where

FIELDS = {
    "histogram": ("count", "sum", "p50", "p99", "max"),
    "table": ("count", "sum", "max"),
    "counter": ("count",),
    "events": ("count",),
}


@dataclass(frozen=True)
class Measure:
    """One metric, and what every run observed of it, in the runs' order."""

    metric: Metric
    seen: tuple[Observed, ...]


def of(runs: Sequence[Result]) -> list[Measure]:
    """Of outputs whose keys name no process, thread or address."""
    return [Measure(metric, observed(metric, runs)) for metric in metrics_of(runs)]


def metrics_of(runs: Sequence[Result]) -> list[Metric]:
    """Each once, in the order of the outputs."""
    return list({m.text: m for result in runs for m in _named(result)}.values())


def observed(metric: Metric, runs: Sequence[Result]) -> tuple[Observed, ...]:
    return tuple(observe.observe(metric, result) for result in runs)


def _named(result: Result) -> Iterable[Metric]:
    for name, output in result.outputs.items():
        for where in () if output.hidden or "why" in output.keys else _wheres(output):
            for field in FIELDS[output.kind]:
                unit = "" if field == "count" or output.unit == "count" else output.unit
                yield Metric(f"{name}{_written(where)}.{field}", name, where, field, unit)


def _wheres(output: OutputData) -> list[Where]:
    """What rows of one run have in common with rows of another: keys of a fixed set, and causes.

    Histograms are merged over their other keys; a table that has others is left out.
    """
    if output.kind == "events":
        return [()]
    stable = [n for n in output.keys if n == "cause" or (n in STANDARD and STANDARD[n].labels)]
    if output.kind != "histogram" and stable != output.keys:
        return []
    found = [tuple((name, str(row["key"][name])) for name in stable) for row in output.rows]
    return list(dict.fromkeys(found))


def _written(where: Where) -> str:
    return f"{{{','.join(f'{key}={value}' for key, value in where)}}}" if where else ""
