"""Estimates from one lock in N: how far off they are, said beside them."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmaplock_bt.errors import UsageError
from mmaplock_bt.judging import verdicts
from mmaplock_bt.result import estimates
from mmaplock_bt.result.buckets import histogram_row, merged, upper
from mmaplock_bt.result.estimates import Spread
from mmaplock_bt.result.observe import observe
from mmaplock_bt.result.rows import Bucket
from mmaplock_bt.spec import gates
from mmaplock_bt.units import SAMPLE_MAX, parse_sample
from tests.builders import bucketed, gate, run

N = 16
ROUNDS = 400


def followed(values: list[int], dice: random.Random) -> list[int]:
    return [value for value in values if dice.randrange(N) == 0]


def test_the_truth_lies_within_the_error_19_times_in_20():
    """Of counts, sums and quantiles of the same values, sampled over and over."""
    dice = random.Random(7919)
    values = [dice.randrange(1000, 50_000) for _ in range(5003)]
    truth = {"count": len(values), "sum": sum(values), "p50": sorted(values)[len(values) // 2]}
    hits = dict.fromkeys(truth, 0)
    for _ in range(ROUNDS):
        row = scaled_histogram(followed(values, dice))
        for name in ("count", "sum"):
            hits[name] += abs(row[name] - truth[name]) <= row[f"{name}_error"]
        low, high = merged([row], {}, N)["quantiles"]["p50"]
        hits["p50"] += low <= truth["p50"] <= high
    assert all(hit >= ROUNDS * 0.92 for hit in hits.values()), hits
    assert hits["count"] < ROUNDS, "an error that is never exceeded is too large"


def scaled_histogram(seen: list[int]):
    row = histogram_row({}, bucketed(seen), sum(seen), max(seen))
    return estimates.scaled(row, N)


def test_a_row_is_scaled_and_its_maximum_stays():
    row = estimates.scaled({"key": {}, "count": 25, "sum": 5000, "max": 400}, N)
    assert (row["count"], row["sum"], row["max"]) == (400, 80_000, 400)
    assert row["count_error"] == 155  # 2 * sqrt(400 * 15), rounded up
    assert row["sum_error"] == 43_818  # 2 * sqrt(15 * 400 * 80,000)
    assert estimates.count_error(0, N) == 3 * N, "none seen is not none"


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=60))
def test_buckets_and_count_agree(values):
    row = scaled_histogram(values)
    assert sum(bucket.n for bucket in row["buckets"]) == row["count"] == N * len(values)


def test_a_quantile_above_the_last_followed_one_is_open():
    row = histogram_row({}, [Bucket(8, upper(8), 10 * N)], None, None, N)
    assert row["quantiles"]["p99.9"] == (8, None) and row["quantiles"]["p50"] == (8, 8)


def sampled(*values: int):
    """A result whose 'hold' was scaled up from these values."""
    result = run(*values)
    (row,) = result.histogram("hold")
    result.histogram("hold")[:] = [estimates.scaled(row, N)]
    return replace(result, profile=replace(result.profile, sample=N))


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("hold.count < 1300", "pass"),  # 800 ± 220
        ("hold.count < 900", "undecided"),
        ("hold.count < 500", "fail"),
        ("hold.sum < 1s", "pass"),
        ("hold.sum < 850us", "undecided"),
        ("hold.max < 2us", "undecided"),  # a longer one may have been passed over
        ("hold.max < 500ns", "fail"),
        ("hold.p50 < 2us", "pass"),
    ],
)
def test_a_gate_uses_the_error(text, outcome):
    result = sampled(*[1000] * 50)
    assert verdicts.judge(gate(text), result).outcome == outcome


def test_a_reading_tells_the_estimate_and_its_ends():
    result = sampled(*[1000] * 50)
    seen = observe(gates.parse("hold.count < 5", result.declarations).metric, result)
    assert (seen.figure, seen.low, seen.high, seen.samples) == (800, 580, 1020, 1000)


@pytest.mark.parametrize(
    "text", ["16", "2/16", "1/0", "1/x", "", "1/-4", f"1/{SAMPLE_MAX + 1}", "0.1"]
)
def test_what_is_no_share_is_refused(text):
    with pytest.raises(UsageError, match="not a share 1/N"):
        parse_sample(text)


def test_a_share():
    assert [parse_sample(text) for text in ("1/16", " 1 / 7 ", "1/1")] == [16, 7, 1]


def test_rows_that_stand_for_others_are_within_their_error_19_times_in_20():
    """As a template samples what is short: long values all, of the others one in N."""
    dice = random.Random(104_729)
    values = [dice.randrange(1000, 50_000) for _ in range(5003)]
    hits = {"count": 0, "sum": 0}
    for _ in range(ROUNDS):
        spread, count, total = Spread(), 0, 0
        for value in values:
            weight = 1 if value > 45_000 else N
            if dice.randrange(weight) == 0:
                spread.add(value, weight)
                count, total = count + weight, total + weight * value
        error = spread.errors()
        hits["count"] += abs(count - len(values)) <= error["count_error"]
        hits["sum"] += abs(total - sum(values)) <= error["sum_error"]
    assert all(ROUNDS * 0.92 <= hit < ROUNDS for hit in hits.values()), hits


def test_what_was_seen_itself_is_no_estimate():
    spread = Spread()
    spread.add(7, 1)
    assert spread.errors() == {}
