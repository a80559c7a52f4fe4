"""Measures: the metrics that mean the same in every run, with their readings."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mmaplock_bt.result.model import OutputData, Result
from mmaplock_bt.result.observe import Reading, observe
from mmaplock_bt.result.rows import column
from mmaplock_bt.spec.columns import STANDARD
from mmaplock_bt.spec.gates import Metric, Where
from mmaplock_bt.spec.outputs import Advice

FIELDS = {
    "histogram": ("count", "sum", "p50", "p99", "max"),
    "table": ("count", "sum", "max"),
    "counter": ("count",),
    "events": ("count",),
}


@dataclass(frozen=True)
class Measure:
    """A metric and its readings, one for each run, in the runs' order."""

    metric: Metric
    readings: tuple[Reading, ...]


def measured(runs: Sequence[Result]) -> list[Measure]:
    """Returns the measures of outputs whose keys name no process, thread or address."""
    return [Measure(metric, readings(metric, runs)) for metric in metrics_of(runs)]


def metrics_of(runs: Sequence[Result]) -> list[Metric]:
    """Returns the metrics that any of the runs has, each once, in the outputs' order."""
    return list({m.text: m for result in runs for m in _named(result)}.values())


def readings(metric: Metric, runs: Sequence[Result]) -> tuple[Reading, ...]:
    """Returns a metric's reading in each run."""
    return tuple(observe(metric, result) for result in runs)


def _named(result: Result) -> Iterable[Metric]:
    for name, output in result.outputs.items():
        declared = result.declarations[name]
        for where in () if output.hidden or isinstance(declared, Advice) else _wheres(output):
            for field in FIELDS[output.kind]:
                unit = "" if field == "count" or output.unit == "count" else output.unit
                yield Metric(f"{name}{_written(where)}.{field}", name, where, field, unit)


def _wheres(output: OutputData) -> list[Where]:
    """The key values that rows of one run share with rows of another: enums and causes.

    Histograms are merged over their other keys; a table that has others is left out.
    """
    if output.kind == "events":
        return [()]
    stable = [n for n in output.keys if n == "cause" or (n in STANDARD and STANDARD[n].labels)]
    if output.kind != "histogram" and stable != output.keys:
        return []
    keys = [row["key"] for row in output.rows]
    found = [tuple((name, str(column(key, name))) for name in stable) for key in keys]
    return list(dict.fromkeys(found))


def _written(where: Where) -> str:
    return f"{{{','.join(f'{key}={value}' for key, value in where)}}}" if where else ""
