"""Result + gate -> what was observed: an interval, and on how many samples it rests."""

from dataclasses import dataclass

from mmaplock_bt.gates import QUANTILES, Gate
from mmaplock_bt.result import OutputData, Result, Row
from mmaplock_bt.rows import QUANTILES as RANKS
from mmaplock_bt.rows import Ends, quantile


@dataclass(frozen=True)
class Observed:
    """The metric lies in [low, high], in its own unit (ns for times).

    None is an open end, or, both, 'not measured'.
    """

    low: int | None
    high: int | None
    samples: int


def observe(gate: Gate, result: Result) -> Observed:
    if gate.output in ("books", "loss"):
        value = getattr(getattr(result, gate.output), gate.field)
        return Observed(value, value, int(value is not None))
    output = result.outputs[gate.output]
    found = [row for row in output.rows if _matches(row, gate.where)]
    samples = sum(_count(row) for row in found)
    if gate.field == "count":
        return Observed(samples, samples, samples)
    if gate.field == "rate":
        return _rate(samples, result.window.duration_ns)
    if gate.field in QUANTILES:
        return _quantile(gate.field, found, samples)
    return _extreme(gate.field, output, found, samples)


def _matches(row: Row, where: tuple[tuple[str, str], ...]) -> bool:
    fields = row | row.get("key", {})
    return all(str(fields.get(key)) == value for key, value in where)


def _count(row: Row) -> int:
    """Rows of events are one each."""
    return int(row.get("count", 1))


def _rate(samples: int, duration_ns: int) -> Observed:
    """Per second of the window: between two whole numbers."""
    if duration_ns <= 0:
        return Observed(None, None, samples)
    low, rest = divmod(samples * 10**9, duration_ns)
    return Observed(low, low + bool(rest), samples)


def _quantile(name: str, found: list[Row], samples: int) -> Observed:
    """Of all the rows together: their buckets are one scale."""
    if not samples:
        return Observed(None, None, 0)
    merged: dict[tuple[int | None, int | None], int] = {}
    for row in found:
        for low, high, count in row["buckets"]:
            merged[low, high] = merged.get((low, high), 0) + count
    ordered = sorted(merged.items(), key=lambda item: -1 if item[0][0] is None else item[0][0])
    buckets: list[Ends] = [[low, high, count] for (low, high), count in ordered]
    tops = [row["max"] for row in found]
    top = None if None in tops else max(tops)
    low, high = quantile(buckets, samples, top, *RANKS[name])
    return Observed(low, high, samples)


def _extreme(field: str, output: OutputData, found: list[Row], samples: int) -> Observed:
    """`sum` and `max` of tables and histograms, `max(FIELD)` of events."""
    name = field[4:-1] if field.startswith("max(") else field
    values = [int(row[name]) for row in found if row.get(name) is not None]
    if len(values) < len(found) or not values:
        return Observed(None, None, samples)
    value = sum(values) if field == "sum" else max(values)
    return Observed(value, value, samples)
