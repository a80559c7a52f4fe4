"""Durations and times as people write and read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmaplock_bt.errors import UsageError
from mmaplock_bt.units import format_ns, parse_duration


@pytest.mark.parametrize(
    ("text", "ns"), [("500us", 500_000), ("1.5s", 1_500_000_000), ("10 ms", 10_000_000), ("0", 0)]
)
def test_durations(text, ns):
    assert parse_duration(text) == ns


@pytest.mark.parametrize("text", ["5", "ms", "1.5ns", "-3ms", "1:30", "10 parsecs", "1e3ms", ""])
def test_wrong_durations(text):
    with pytest.raises(UsageError):
        parse_duration(text)


@given(st.integers(0, 10**15))
def test_formatted_times_are_short(ns):
    assert len(format_ns(ns)) <= 12
