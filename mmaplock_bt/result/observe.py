"""Result + metric -> what was observed: an interval, and on how many samples it rests."""

from dataclasses import dataclass
from fractions import Fraction

from mmaplock_bt.analysis.rows import Ends, histogram_row
from mmaplock_bt.result.model import OutputData, Result, Row
from mmaplock_bt.spec.gates import QUANTILES, Metric, Number, Where


@dataclass(frozen=True)
class Observed:
    """The metric lies in [low, high], in its own unit (ns for times).

    None is an open end, or, both, 'not measured'.
    """

    low: Number | None
    high: Number | None
    samples: int

    @property
    def is_measured(self) -> bool:
        return self.low is not None or self.high is not None


def observe(metric: Metric, result: Result) -> Observed:
    """Counts and rates rest on every acquisition that was looked at, all else on its own rows.

    Not measured is what the result has no output for.
    """
    if metric.output in ("books", "loss"):
        value = getattr(getattr(result, metric.output), metric.field)
        return Observed(value, value, int(value is not None))
    if metric.output not in result.outputs:
        return Observed(None, None, 0)
    output = result.outputs[metric.output]
    found = [row for row in output.rows if _matches(row, metric.where)]
    samples = sum(_count(row) for row in found)
    if metric.field == "count":
        return Observed(samples, samples, result.books.acquires or 0)
    if metric.field == "rate":
        return _rate(samples, result)
    if metric.field in QUANTILES:
        return _quantile(metric.field, found, samples)
    return _extreme(metric.field, output, found, samples)


def _matches(row: Row, where: Where) -> bool:
    fields = row | row.get("key", {})
    return all(str(fields.get(key)) == value for key, value in where)


def _count(row: Row) -> int:
    """Rows of events are one each."""
    return int(row.get("count", 1))


def _rate(count: int, result: Result) -> Observed:
    """Per second of the window, exact."""
    seen = result.books.acquires or 0
    if result.window.duration_ns <= 0:
        return Observed(None, None, seen)
    rate = Fraction(count * 10**9, result.window.duration_ns)
    return Observed(rate, rate, seen)


def _quantile(name: str, found: list[Row], samples: int) -> Observed:
    """Of all the rows together."""
    if not samples:
        return Observed(None, None, 0)
    low, high = merged(found)["quantiles"][name]
    return Observed(low, high, samples)


def merged(found: list[Row], key: Row | None = None) -> Row:
    """Histogram rows as one, of this key: their buckets are one scale. None where unknown."""
    counts: dict[tuple[int | None, int | None], int] = {}
    for row in found:
        for low, high, count in row["buckets"]:
            counts[low, high] = counts.get((low, high), 0) + count
    ordered = sorted(counts.items(), key=lambda item: -1 if item[0][0] is None else item[0][0])
    buckets: list[Ends] = [[low, high, count] for (low, high), count in ordered]
    tops, sums = [row["max"] for row in found], [row["sum"] for row in found]
    total, top = None if None in sums else sum(sums), None if None in tops else max(tops)
    return histogram_row(key, buckets, total, top)


def _extreme(field: str, output: OutputData, found: list[Row], samples: int) -> Observed:
    """`sum` and `max` of tables and histograms, `max(FIELD)` of events."""
    name = field[4:-1] if field.startswith("max(") else field
    values = [int(row[name]) for row in found if row.get(name) is not None]
    if len(values) < len(found) or not values:
        return Observed(None, None, samples)
    value = sum(values) if field == "sum" else max(values)
    return Observed(value, value, samples)
