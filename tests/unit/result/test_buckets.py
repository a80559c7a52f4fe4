"""Quantiles are intervals that hold the true value."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from mmaplock_bt.result.buckets import merged, quantile
from mmaplock_bt.spec.gates import QUANTILES
from tests.builders import bucketed, histogram_of


@given(st.lists(st.integers(0, 2**50), min_size=1), st.sampled_from(list(QUANTILES)))
def test_a_quantile_interval_holds_the_true_quantile(values, name):
    numerator, denominator = QUANTILES[name]
    low, high = quantile(bucketed(values), len(values), max(values), numerator, denominator)
    rank = -(-len(values) * numerator // denominator)
    assert low <= sorted(values)[max(0, rank - 1)] <= high
    assert Fraction(high - low) <= Fraction(max(low, 1), 8)


@given(st.lists(st.lists(st.integers(0, 2**40), min_size=1), min_size=1, max_size=4))
def test_rows_of_one_scale_add_up_to_the_row_of_all(parts):
    rows = [histogram_of({"mode": "read"}, part) for part in parts]
    everything = [value for part in parts for value in part]
    assert merged(rows, {}) == histogram_of({}, everything)


def test_a_sum_or_maximum_that_one_lacks_is_not_known():
    known = histogram_of({}, [5, 70])
    unknown = known | {"sum": None, "max": None}
    assert merged([known, known], {})["sum"] == 150
    assert merged([known, unknown], {})["sum"] is merged([unknown, known], {})["max"] is None
