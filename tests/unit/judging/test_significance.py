"""The rank test and the correction for many tests."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmaplock_bt.judging import significance


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm(chances):
    corrected = significance.holm(chances)
    assert all(one >= other for one, other in zip(corrected, chances, strict=True))
    ranked = sorted(range(len(chances)), key=lambda index: chances[index])
    assert [corrected[i] for i in ranked] == sorted(corrected)
    assert min(corrected) == min(1.0, min(chances) * len(chances))


def test_the_rank_test_is_exact():
    """Of 924 ways to split 12 different values two are the most extreme."""
    low, high = [1.0, 2, 3, 4, 5, 6], [7.0, 8, 9, 10, 11, 12]
    assert significance.chance(low, high) == pytest.approx(2 / 924)
    assert significance.chance([1.0] * 6, [1.0] * 6) == 1.0
    assert significance.chance([1.0] * 6, [2.0] * 6) < 0.05, "ties"
