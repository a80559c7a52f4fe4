"""Durations and times as people write and read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmaplock_bt import units
from mmaplock_bt.errors import UsageError
from mmaplock_bt.units import format_ns, parse_duration, parse_share


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


@given(st.integers(1, 10**6), st.sampled_from(["%", " %"]))
def test_shares(ppm, sign):
    assert parse_share(f"{ppm // 10**4}.{ppm % 10**4:04}{sign}") == ppm


@pytest.mark.parametrize(
    ("text", "says"),
    [("2", "with its %"), ("", "with its %"), ("x%", "with its %"), ("-1%", "with its %"),
     ("1e1%", "with its %"), ("%", "with its %"), ("٢%", "with its %"), ("0%", "above 0 %"),
     ("100.0001%", "at most 100 %"), ("101%", "at most 100 %"), ("999999999%", "at most 100 %"),
     ("0.00001%", "finer than")],
)  # fmt: skip
def test_wrong_shares(text, says):
    with pytest.raises(UsageError, match=says):
        parse_share(text)


@given(st.text())
def test_any_text_is_a_share_or_a_sentence(text):
    try:
        assert 0 < parse_share(text) <= 10**6
    except UsageError as error:
        assert str(error)


def test_a_number_agrees_with_its_noun():
    assert units.counted(1, "run") == "1 run"
    assert [units.counted(n, "run") for n in (0, 2, 1234)] == ["0 runs", "2 runs", "1,234 runs"]


def test_how_a_process_ended_in_words():
    told = {0: "status 0", 3: "status 3", -11: "killed by SIGSEGV", -9: "killed by SIGKILL",
            -40: "killed by signal 40", None: "still running"}  # fmt: skip
    assert {status: units.how_ended(status) for status in told} == told
