"""Go benchmark text for benchstat: a line for each run and key, the runs being its samples."""

from mmaplock_bt.escaping import safe
from mmaplock_bt.judging import measures
from mmaplock_bt.judging.measures import Measure
from mmaplock_bt.judging.series import Series
from mmaplock_bt.renderers.summary import number
from mmaplock_bt.result.model import Result
from mmaplock_bt.spec.gates import Metric

_NO_SPACE = str.maketrans(" /", "__")  # a space ends a name, a slash begins its next part


def render(series: Series) -> str:
    """Renders every run's readings as Go benchmark results.

    A configuration line holds until another replaces it, so it is written only where it changes.
    """
    found = measures.measured(series.runs)
    lines = _units(found)
    before: dict[str, str] = {}
    for turn, run in enumerate(series.runs):
        config = _config(run)
        lines += [f"{k}: {v}" for k, v in config.items() if before.get(k) != v]
        before = config
        lines += _results(found, turn, run.target.cpus)
    return "".join(f"{line}\n" for line in lines)


def _units(found: list[Measure]) -> list[str]:
    times = dict.fromkeys(_unit(one.metric) for one in found if one.metric.unit == "ns")
    return [f"Unit {unit} better=lower" for unit in times]


def _unit(metric: Metric) -> str:
    return safe(f"{metric.field}-{metric.unit}".rstrip("-")).translate(_NO_SPACE)


def _config(run: Result) -> dict[str, str]:
    return {
        "profile": safe(run.profile.name),
        "kernel": safe(run.target.kernel),
        "bpftrace": safe(run.target.bpftrace),
        "cpus": str(run.target.cpus),
    }


def _results(found: list[Measure], turn: int, cpus: int) -> list[str]:
    groups: dict[str, list[Measure]] = {}
    for one in found:
        groups.setdefault(f"{_name(one.metric)}-{cpus}", []).append(one)
    lines = (_line(name, group, turn) for name, group in groups.items())
    return [line for line in lines if line]


def _name(metric: Metric) -> str:
    """`BenchmarkHold/mode=write`."""
    parts = (metric.output[:1].upper() + metric.output[1:], *(f"{k}={v}" for k, v in metric.where))
    return "Benchmark" + "/".join(safe(part).translate(_NO_SPACE) for part in parts)


def _line(name: str, group: list[Measure], turn: int) -> str:
    """Empty where the run measured nothing; the count stands for the iterations."""
    highs = {one.metric: one.readings[turn].high for one in group}
    pairs = [f"{number(high)} {_unit(m)}" for m, high in highs.items() if high is not None]
    counts = [high for metric, high in highs.items() if metric.field == "count" and high]
    return f"{name} {counts[0] if counts else 1} {' '.join(pairs)}" if pairs else ""
