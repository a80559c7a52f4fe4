"""Reads a metric off a result: an interval, and how many samples it rests on."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from mmaplock_bt.result import estimates
from mmaplock_bt.result.buckets import merged
from mmaplock_bt.result.model import EventsData, HistogramData, OutputData, Result
from mmaplock_bt.result.rows import AnyRow, HistogramRow, column
from mmaplock_bt.spec.gates import QUANTILES, Metric, Number, Where

_SUMMED = ("count", "rate", "sum")


@dataclass(frozen=True)
class Reading:
    """A metric's value in one result: it lies in [low, high], in its unit (ns for times).

    None is an open end; both None is 'not measured'. `figure` is the value itself where the
    interval is an estimate's error.
    """

    low: Number | None
    high: Number | None
    samples: int
    figure: Number | None = None

    @property
    def is_measured(self) -> bool:
        """Whether either end is known."""
        return self.low is not None or self.high is not None


def observe(metric: Metric, result: Result) -> Reading:
    """Returns the metric's reading in a result.

    Counts and rates rest on every acquisition in the window, all else on its own rows. A metric of
    an output that the result does not have is not measured.
    """
    if metric.output in ("books", "loss"):
        value = getattr(getattr(result, metric.output), metric.field)
        return Reading(value, value, int(value is not None))
    if metric.output not in result.outputs:
        return Reading(None, None, 0)
    output = result.outputs[metric.output]
    if output.lacks and _rests_on_others(metric, result):  # they are not all there
        return Reading(None, None, len(output.rows))
    found = _found(output, metric.where)
    if isinstance(output, EventsData) and output.total is not None:
        return _of_many(metric, output, found, result)
    read = _estimate if result.profile.sample > 1 else _exact
    return read(metric, output, found, result)


def _rests_on_others(metric: Metric, result: Result) -> bool:
    """Of events that the script printed only the label does."""
    is_printed = result.declarations[metric.output].is_printed
    return not is_printed or any(name == "label" for name, _ in metric.where)


def _of_many(metric: Metric, output: EventsData, found: list[Any], result: Result) -> Reading:
    """Of events of which not all are rows: their number lies between ends, so may a maximum."""
    n = result.profile.sample
    unseen, is_exact = _unseen(metric.where, output)
    if metric.field in ("count", "rate"):
        least = (len(found) + unseen * is_exact) * n
        return _between(metric.field, least, (len(found) + unseen) * n, result)
    seen = _extreme(metric.field, found, len(found))
    if n > 1:
        return Reading(seen.low, None, seen.samples, seen.low)
    return _below(seen, metric, output, result) if unseen else seen


def _between(field: str, least: int, most: int, result: Result) -> Reading:
    """A number of events, or of those in a second of the window."""
    n, seen, span_ns = result.profile.sample, result.books.acquires or 0, result.window.duration_ns
    if field == "rate" and span_ns <= 0:
        return Reading(None, None, seen)
    scale = 1 if field == "count" else Fraction(10**9, span_ns)
    if n == 1:
        return Reading(least * scale, most * scale, seen)
    low = max(0, least - estimates.count_error(least, n))
    high = most + estimates.count_error(most, n)
    return Reading(low * scale, high * scale, seen, least * scale if least == most else None)


def _below(seen: Reading, metric: Metric, output: EventsData, result: Result) -> Reading:
    """A maximum of the rows, where there are events beside them that may be larger.

    By the column of the rank all of them are below the last of the first.
    """
    rank = getattr(result.declarations[metric.output], "rank", None) or "time_ns"
    if rank == "time_ns" or metric.field != f"max({rank})":
        return Reading(seen.low, None, seen.samples)
    least = column(output.rows[output.first - 1], rank)
    return Reading(seen.low, max(least, seen.low or 0), seen.samples)


def _unseen(where: Where, output: EventsData) -> tuple[int, bool]:
    """How many events that are no rows may match, and whether it is certain that they do."""
    known = set(output.counts[0]["key"]) if output.counts else set()
    told = tuple((name, value) for name, value in where if name in known)
    counted = sum(row["count"] for row in output.counts if _matches(row, told))
    return counted - len(_found(output, told)), len(told) == len(where)


def _found(output: OutputData, where: Where) -> list[Any]:
    return [row for row in output.rows if _matches(row, where)]


def _exact(metric: Metric, output: OutputData, found: list[Any], result: Result) -> Reading:
    samples = sum(_count(row) for row in found)
    if metric.field in _SUMMED and any(column(row, "count_error") for row in found):
        return _weighted(metric.field, found, samples, result)
    if metric.field == "count":
        return Reading(samples, samples, result.books.acquires or 0)
    if metric.field == "rate":
        return _rate(samples, result)
    if isinstance(output, HistogramData) and metric.field in QUANTILES:
        return _quantile(metric.field, found, samples)
    return _extreme(metric.field, found, samples)


def _weighted(field: str, found: list[Any], count: int, result: Result) -> Reading:
    """Of rows of which some stand for what was passed over."""
    name = "sum" if field == "sum" else "count"
    error = estimates.combined([int(column(row, f"{name}_error") or 0) for row in found])
    if name == "sum":
        whole = _extreme("sum", found, count)
        return _spread(int(whole.low), error, count, Fraction(1)) if whole.low else whole
    span_ns = 10**9 if field == "count" else result.window.duration_ns
    if span_ns <= 0:
        return Reading(None, None, 0)
    return _spread(count, error, result.books.acquires or 0, Fraction(10**9, span_ns))


def _estimate(metric: Metric, output: OutputData, found: list[Any], result: Result) -> Reading:
    """Of one lock in N; samples are those that were followed."""
    n, seen = result.profile.sample, result.books.acquires or 0
    each = n if isinstance(output, EventsData) else 1  # events are listed, not scaled
    count = sum(_count(row) for row in found) * each
    if metric.field in ("count", "rate"):
        span_ns = 10**9 if metric.field == "count" else result.window.duration_ns
        if each > 1 and result.cost is not None and result.cost.has_changed:
            most = count + estimates.count_error(count, n)  # as if all had been the rarest ones
            scale = Fraction(10**9, span_ns)
            return Reading(count // n * scale, most * scale, seen)
        return _spread(count, estimates.count_error(count, n), seen, Fraction(10**9, span_ns))
    if isinstance(output, HistogramData) and metric.field in QUANTILES:
        return _quantile(metric.field, found, count // n, n) if count else Reading(None, None, 0)
    whole = _extreme(metric.field, found, count // n)
    if metric.field == "sum" and whole.low is not None:
        error = estimates.combined([int(column(row, "sum_error") or 0) for row in found])
        return _spread(int(whole.low), error, count // n, Fraction(1))
    return Reading(whole.low, None, count // n, whole.low)  # a larger one may have been passed over


def _spread(value: int, error: int, samples: int, scale: Fraction) -> Reading:
    low, high = max(0, value - error) * scale, (value + error) * scale
    return Reading(low, high, samples, value * scale)


def _matches(row: AnyRow, where: Where) -> bool:
    return all(str(_field(row, key)) == value for key, value in where)


def _field(row: AnyRow, name: str) -> Any:
    """A column of the row's key, else of the row."""
    inner = column(row, "key")
    return column(inner, name) if inner and name in inner else column(row, name)


def _count(row: AnyRow) -> int:
    """A row of events counts as one."""
    found = column(row, "count")
    return 1 if found is None else int(found)


def _rate(count: int, result: Result) -> Reading:
    """Per second of the window, exact."""
    seen = result.books.acquires or 0
    if result.window.duration_ns <= 0:
        return Reading(None, None, seen)
    rate = Fraction(count * 10**9, result.window.duration_ns)
    return Reading(rate, rate, seen)


def _quantile(name: str, found: list[HistogramRow], samples: int, n: int = 1) -> Reading:
    """Of all rows merged into one; of `n` values one was followed."""
    if not samples:
        return Reading(None, None, 0)
    low, high = merged(found, {}, n)["quantiles"][name]
    return Reading(low, high, samples)


def _extreme(field: str, found: list[AnyRow], samples: int) -> Reading:
    """`sum` or `max` of tables and histograms, `max(FIELD)` of events."""
    name = field[4:-1] if field.startswith("max(") else field
    values = [int(column(row, name)) for row in found if column(row, name) is not None]
    if len(values) < len(found) or not values:
        return Reading(None, None, samples)
    value = sum(values) if field == "sum" else max(values)
    return Reading(value, value, samples)
