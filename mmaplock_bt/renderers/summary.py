"""A measure as one number, for formats that hold only one: the median, and the runs' range."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mmaplock_bt.judging import measures
from mmaplock_bt.judging.measures import Measure
from mmaplock_bt.result.model import Result
from mmaplock_bt.result.observe import Reading
from mmaplock_bt.spec.gates import Metric, Number


@dataclass(frozen=True)
class Summary:
    """A measure over several runs; `value` is the median of estimates, else of upper ends.

    Of an even number it is the larger middle one. All readings lie in [low, high]; None is an open
    end. `samples` is the smallest number that a reading has. An estimate's value was scaled up.
    """

    metric: Metric
    value: int | float
    low: int | float | None
    high: int | float | None
    samples: int
    is_estimate: bool = False


def summaries(runs: Sequence[Result]) -> list[Summary]:
    """Returns a summary of each measure of the runs.

    Left out is what no run measured, and a median whose upper end is open.
    """
    found = (_summary(measure) for measure in measures.measured(runs))
    return [one for one in found if one is not None]


def key_of(metric: Metric) -> str:
    """Returns the metric without its field: `hold{mode=write}`."""
    return metric.text.removesuffix(f".{metric.field}")


def number(value: Number) -> int | float:
    """Returns an exact fraction as a float, for formats."""
    return value if isinstance(value, int) else float(value)


def _top(run: Reading) -> int | float:
    return math.inf if run.high is None else number(run.high)


def _summary(measure: Measure) -> Summary | None:
    seen = [run for run in measure.readings if run.is_measured]
    tops = sorted(map(_top, seen))
    told = sorted(_top(run) if run.figure is None else number(run.figure) for run in seen)
    middle = told[len(told) // 2] if told else math.inf
    if middle == math.inf:
        return None
    lows = [number(run.low) for run in seen if run.low is not None]
    return Summary(
        metric=measure.metric,
        value=middle,
        low=min(lows) if len(lows) == len(seen) else None,
        high=None if tops[-1] == math.inf else tops[-1],
        samples=min(run.samples for run in seen),
        is_estimate=any(run.figure is not None and run.high is not None for run in seen),
    )
