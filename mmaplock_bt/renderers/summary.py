"""A measure as one number, where a format holds one: the runs' median, and where they all lie."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mmaplock_bt.judging import measures
from mmaplock_bt.judging.measures import Measure
from mmaplock_bt.result.model import Result
from mmaplock_bt.spec.gates import Metric, Number


@dataclass(frozen=True)
class Spread:
    """`value` is the median of the upper ends, of an even number the larger middle one.

    All runs lie in [low, high]; None is an open end. `samples` is what the poorest run has.
    """

    metric: Metric
    value: int | float
    low: int | float | None
    high: int | float | None
    samples: int


def of(runs: Sequence[Result]) -> list[Spread]:
    """Left out is what no run measured, and a median without an upper end."""
    found = (_spread(measure) for measure in measures.of(runs))
    return [spread for spread in found if spread is not None]


def key(metric: Metric) -> str:
    """The metric without its field: `hold{mode=write}`."""
    return metric.text.removesuffix(f".{metric.field}")


def number(value: Number) -> int | float:
    return value if isinstance(value, int) else float(value)


def _spread(measure: Measure) -> Spread | None:
    seen = [run for run in measure.seen if run.is_measured]
    tops = sorted(math.inf if run.high is None else number(run.high) for run in seen)
    middle = tops[len(tops) // 2] if tops else math.inf
    if middle == math.inf:
        return None
    lows = [number(run.low) for run in seen if run.low is not None]
    return Spread(
        metric=measure.metric,
        value=middle,
        low=min(lows) if len(lows) == len(seen) else None,
        high=None if tops[-1] == math.inf else tops[-1],
        samples=min(run.samples for run in seen),
    )
