"""A result as one row: what is not of this tool's measure is left out and told, or refused."""

from dataclasses import replace

import pytest

from mmaplock_bt.errors import UsageError
from mmaplock_bt.fleet import windows
from mmaplock_bt.fleet.windows import COLUMNS, LETTERS
from mmaplock_bt.result.rows import Bucket
from tests.builders import FULL, STREAMS, captured, histogram_of, made, with_rows
from tests.unit.fleet.fleets import window


def row(result):
    return windows.row(result, "h", "f.json")


def test_every_column_is_there():
    for result in (window(), made(FULL), captured()):
        assert row(result).keys() == COLUMNS.keys()


@pytest.mark.parametrize("stream", STREAMS, ids=lambda path: path.name)
def test_a_real_window(stream):
    result = captured(stream)
    told = {one["mode"]: one for one in row(result)["histograms"] if one["output"] == "hold"}
    for each in result.histogram("hold"):
        one = told[each["key"]["mode"]]
        assert (one["count"], one["sum"], one["max"]) == (each["count"], each["sum"], each["max"])
    assert row(result)["traced"].endswith("the command's processes")


def test_rows_of_one_mode_are_one():
    """Gates may have split them by owner."""
    split = [histogram_of({"mode": "read", "owner_pid": pid}, [pid]) for pid in (3, 5)]
    (one,) = row(with_rows(window(), "hold", split))["histograms"]
    assert (one["count"], one["sum"], one["max"]) == (2, 8, 5)


FOREIGN = {
    "powers of two": Bucket(16, 31, 1),
    "not on the scale": Bucket(17, 18, 1),
    "open": Bucket(None, 0, 1),
    "below 0": Bucket(-8, -8, 1),
}


@pytest.mark.parametrize("bucket", FOREIGN.values(), ids=FOREIGN)
def test_buckets_of_another_kind_are_left_out_and_told(bucket):
    other = histogram_of({"mode": "read"}, [5]) | {"buckets": [bucket]}
    found = row(with_rows(window(wait={"read": [7]}), "hold", [other]))
    assert [one["output"] for one in found["histograms"]] == ["wait"]
    assert (
        not found["complete"]
        and found["missing"] == "buckets of hold are not this tool's: left out"
    )


def test_numbers_that_no_window_has():
    base = window(hold={"read": [5]})
    for number in (-1, 1 << 63, 1 << 90):
        wrong = replace(base, window=replace(base.window, duration_ns=number))
        with pytest.raises(UsageError, match="no window has such a number"):
            row(wrong)
    huge = histogram_of({"mode": "read"}, [5]) | {"sum": 1 << 64}
    with pytest.raises(UsageError):
        row(with_rows(base, "hold", [huge]))


def test_texts_are_cut():
    found = row(window(charges={("x" * 10_000, "y", "z"): [1]}))
    assert len(found["blame"][0]["victim"]) == LETTERS


def test_many_pairs_are_cut_and_their_sum_is_not():
    charges = {(str(n), "c", "why"): [2] for n in range(windows.PAIRS + 3)}
    found = row(window(charges=charges))
    assert len(found["blame"]) == windows.PAIRS
    assert found["waited_ns"] == 2 * (windows.PAIRS + 3)
    assert found["missing"] == "of 1,003 pairs of blame the first 1,000 kept"


def test_more_histograms_than_any_window_has():
    many = [histogram_of({"mode": str(n)}, [5]) for n in range(windows.HISTOGRAMS + 1)]
    assert len(row(with_rows(window(), "hold", many[1:]))["histograms"]) == windows.HISTOGRAMS
    with pytest.raises(UsageError, match="no window has more than 200 histograms"):
        row(with_rows(window(), "hold", many))


def test_what_a_table_leaves_out_is_told():
    base = window(charges={("a", "b", "c"): [5]})
    cut = replace(base.outputs["rest"], lacks="made of the 50,000 longest")
    found = row(replace(base, outputs=base.outputs | {"rest": cut}))
    assert not found["complete"] and found["missing"] == "made of the 50,000 longest"


def test_a_table_that_is_empty_was_asked_for():
    assert row(window(charges={}))["waited_ns"] == 0
    assert row(window())["waited_ns"] is None


def test_open_spans_and_events_count_for_the_longest():
    found = row(made(FULL))
    assert found["longest_hold_ns"] == 5, "a hold that had not ended, of 5 ns"
    assert found["longest_wait_ns"] == 9


@pytest.mark.parametrize("start", ["", "yesterday", "9999-12-31T23:59:59-12:00", "\ud800"])
def test_a_start_that_is_none(start):
    base = window()
    assert row(replace(base, window=replace(base.window, start=start)))["start"] is None
