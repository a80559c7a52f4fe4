"""How sure a change is: rank test, bootstrap interval, correction for many tests. Needs scipy."""

from collections.abc import Sequence
from typing import Any

from mmaplock_bt.errors import UsageError

RESAMPLES = 9999
SEED = 1  # fixed: the same files give the same answer
COVERAGE = 0.95


def chance(base: list[float], new: list[float], sign: int = 0) -> float:
    """Returns Mann-Whitney's p for a change to more (1), to less (-1) or to either (0).

    Exact or, with ties, by permutations. Raises UsageError without scipy.
    """
    stats, numpy = _scipy()
    values = [*base, *new]
    if len(set(values)) == 1:
        return 1.0
    exact = len(set(values)) == len(values)
    method = "exact" if exact else stats.PermutationMethod(
        n_resamples=RESAMPLES, rng=numpy.random.default_rng(SEED)
    )  # fmt: skip
    way = {0: "two-sided", 1: "greater", -1: "less"}[sign]
    return float(stats.mannwhitneyu(new, base, alternative=way, method=method).pvalue)


def interval(base: list[float], new: list[float]) -> tuple[float, float] | None:
    """Returns the 95 % interval of the medians' relative change, by bootstrap.

    None where a base value is not positive, or a series holds one value: none can be drawn again.
    Raises UsageError without scipy.
    """
    if min(base) <= 0 or min(len(base), len(new)) < 2:
        return None
    stats, numpy = _scipy()

    def change(one: Any, other: Any, axis: int = -1) -> Any:
        return numpy.median(other, axis=axis) / numpy.median(one, axis=axis) - 1

    found = stats.bootstrap(
        (base, new),
        change,
        method="percentile",
        confidence_level=COVERAGE,
        n_resamples=RESAMPLES,
        rng=numpy.random.default_rng(SEED),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _scipy() -> tuple[Any, Any]:
    try:
        import numpy  # noqa: PLC0415
        from scipy import stats  # type: ignore[import-untyped]  # noqa: PLC0415
    except ImportError as error:
        raise UsageError(
            "compare needs scipy: install mmaplock-bt[compare], or scipy itself"
        ) from error
    return stats, numpy


def holm(chances: Sequence[float]) -> list[float]:
    """Returns each p, in its place, corrected for all of them (Holm-Bonferroni)."""
    corrected = [1.0] * len(chances)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(chances)), key=lambda i: chances[i])):
        highest = max(highest, min(1.0, chances[index] * (len(chances) - rank)))
        corrected[index] = highest
    return corrected
