"""Estimates from a sample: rows scaled up, with the error of their counts and sums.

Each lock is followed with the chance 1/N, whatever became of the others. An error is two standard
deviations: the true figure lies within it 19 times in 20.
"""

import math
from collections.abc import Sequence
from typing import Any

from mmaplock_bt.result.rows import Bucket

NONE_SEEN = 3  # with this many times N true ones, none is followed once in 20 times


def scaled(row: Any, n: int, times: int | None = None) -> Any:
    """Returns a counted row as an estimate of all, with `count_error` and `sum_error`.

    The maximum stays that of the followed ones: a larger one may have been among the others. Where
    each was counted with its own weight, `n` at most, `times` is 1: nothing is scaled once more.
    """
    times = n if times is None else times
    made = dict(row)
    for name in ("count", "sum", "read_ns", "write_ns"):
        if made.get(name) is not None:
            made[name] *= times
    if "buckets" in made:
        made["buckets"] = [Bucket(low, high, count * times) for low, high, count in made["buckets"]]
    made["count_error"] = count_error(made["count"], n)
    if made.get("sum") is not None:
        made["sum_error"] = _sum_error(made, n)
    return made


class Spread:
    """The errors of figures that are summed of events which stand for several each."""

    __slots__ = ("count", "total")

    def __init__(self) -> None:
        self.count = self.total = 0  # variances

    def add(self, value: int, weight: int) -> None:
        """Adds an event that was kept with the chance 1/weight."""
        # Horvitz and Thompson's estimate of the variance: (1 - p) / p^2 for each that was kept.
        own = weight * (weight - 1)
        self.count += own
        self.total += own * value * value

    def join(self, other: "Spread") -> None:
        """Adds what another one has."""
        self.count += other.count
        self.total += other.total

    def errors(self) -> dict[str, int]:
        """Returns `count_error` and `sum_error`; nothing where each stood for itself."""
        told = {"count_error": self.count, "sum_error": self.total}
        return {name: math.ceil(2 * math.sqrt(found)) for name, found in told.items() if self.count}


def count_error(count: int, n: int) -> int:
    """Returns the error of a scaled count.

    Of `count` locks a binomial number is followed: its variance, scaled, is count * (n - 1).
    """
    return math.ceil(2 * math.sqrt(count * (n - 1))) if count else NONE_SEEN * n


def combined(errors: Sequence[int]) -> int:
    """Returns the error of a sum of independent estimates."""
    return math.ceil(math.sqrt(sum(error * error for error in errors)))


def ranks(count: int, n: int, numerator: int, denominator: int) -> tuple[int, int]:
    """Returns the ranks, among the followed ones, between which a quantile of all lies.

    `count` is the scaled count; the quantile is a fraction. The upper rank may lie above the last.
    """
    followed = count // n
    share = numerator / denominator
    spread = 2 * math.sqrt(followed * share * (1 - share))
    rank = max(1, -(-followed * numerator // denominator))
    return max(1, math.floor(rank - spread)), math.ceil(rank + spread)


def _sum_error(row: Any, n: int) -> int:
    """The variance is (n - 1) times the squares' sum: of the buckets, else at most max * sum."""
    squares = (row["max"] or 0) * row["sum"]
    if row.get("buckets"):
        tops = [(bucket.high or bucket.low or 0, bucket.n) for bucket in row["buckets"]]
        squares = min(squares or math.inf, sum(count * top * top for top, count in tops))
    return math.ceil(2 * math.sqrt((n - 1) * squares))
