"""Histograms: bucket ends, quantiles as intervals, rows, several rows merged into one."""

from collections.abc import Iterable, Sequence

from mmaplock_bt.result import estimates
from mmaplock_bt.result.rows import Bucket, HistogramRow, Interval, Row
from mmaplock_bt.spec.gates import QUANTILES

SUB_BUCKET_BITS = 3  # 8 linear buckets in each power of two: none is wider than 1/8 of its value


def upper(lower: int) -> int:
    """Returns the inclusive upper end of the script's bucket that begins at `lower`."""
    return lower + (1 << max(0, lower.bit_length() - 1 - SUB_BUCKET_BITS)) - 1


def histogram_row(
    key: Row, buckets: list[Bucket], total: int | None, top: int | None, sample: int = 1
) -> HistogramRow:
    """Makes a row of buckets in ascending order.

    `total` and `top` are the values' sum and maximum; None where they are not known. Of `sample`
    values one was followed: then buckets and total are scaled up, and quantiles have an error.
    """
    count = sum(bucket.n for bucket in buckets)

    def lies(over: int, under: int) -> Interval:
        if sample > 1:
            return _between(buckets, count, sample, over, under)
        return quantile(buckets, count, top, over, under)

    return {
        "key": key,
        "count": count,
        "sum": total,
        "max": top,
        "buckets": buckets,
        "quantiles": {name: lies(*QUANTILES[name]) for name in QUANTILES},
    }


def _between(buckets: list[Bucket], count: int, sample: int, over: int, under: int) -> Interval:
    """From the bucket of the lower rank to that of the upper; open above the last one.

    A followed one has `sample` ranks among all.
    """
    lower, last = (rank * sample for rank in estimates.ranks(count, sample, over, under))
    first = lower - sample + 1
    seen, low, high = 0, None, None
    for bucket in buckets:
        if seen < first <= seen + bucket.n:
            low = bucket.low
        if seen < last <= seen + bucket.n:
            high = bucket.high
        seen += bucket.n
    return Interval(low, high)


def quantile(
    buckets: Iterable[Bucket], total: int, top: int | None, numerator: int, denominator: int
) -> Interval:
    """Returns the interval in which a quantile lies: its bucket, cut at the maximum if known.

    The quantile is a fraction, like 99/100; `total` is the count of all values.
    """
    # Rounded up, in integers: a float would miss a rank in large counts.
    rank = max(1, -(-total * numerator // denominator))
    seen = 0
    for low, high, count in buckets:
        seen += count
        if seen >= rank:
            cut = high if low is None or high is None or top is None else min(high, max(top, low))
            return Interval(low, cut)
    return Interval(0, 0)


def merged(found: Sequence[HistogramRow], key: Row, sample: int = 1) -> HistogramRow:
    """Returns rows with buckets of one scale as one row; of `sample` values one was followed.

    Its sum or maximum is None where one of them has none.
    """
    counts: dict[tuple[int | None, int | None], int] = {}
    for row in found:
        for low, high, count in row["buckets"]:
            counts[low, high] = counts.get((low, high), 0) + count
    ordered = sorted(counts.items(), key=lambda item: -1 if item[0][0] is None else item[0][0])
    sums = [row["sum"] for row in found if row["sum"] is not None]
    tops = [row["max"] for row in found if row["max"] is not None]
    return histogram_row(
        key,
        [Bucket(low, high, count) for (low, high), count in ordered],
        sum(sums) if len(sums) == len(found) else None,
        max(tops) if len(tops) == len(found) else None,
        sample,
    )
