"""Rows grouped into a table, and the rhythm in which they repeat."""

from mmaplock_bt.analysis import grouping
from tests.builders import one_output

S = 10**9


def test_a_rhythm_of_bursts():
    """Every 30 s three holds within half a second, a little late now and then."""
    starts = []
    for turn in range(5):
        begin = turn * 30 * S + (turn % 2) * S // 5
        starts += [begin, begin + S // 10, begin + S // 2]
    usual, error = grouping.period(starts)
    assert abs(usual - 30 * S) <= S // 5 and error <= S // 2


def test_no_rhythm():
    assert grouping.period([]) == (None, None)
    assert grouping.period([0, S, 2 * S]) == (None, None)
    assert grouping.period([0, S, 5 * S, 6 * S, 18 * S, 40 * S]) == (None, None)


def test_samples_weigh_and_tables_add_up():
    rows = [
        {"cause": "a", "hold_ns": 10, "n": 1, "tid": 1, "time_ns": 0, "at": "x"},
        {"cause": "a", "hold_ns": 3, "n": 97, "tid": 2, "time_ns": 0, "at": "y"},
        {"cause": "b", "hold_ns": 5, "n": 97, "tid": 2, "time_ns": 0, "at": "z"},
    ]
    told = {"kind": "table", "title": "T", "of": "x", "value": "hold_ns", "weight": "n",
            "keys": ["cause"], "distinct": {"threads": "tid"}, "worst": ["at"]}  # fmt: skip
    b, a = grouping.group(one_output(**told), rows)
    assert (b["count"], b["sum"], b["max"], b["threads"]) == (97, 485, 5, 1)
    assert (a["count"], a["sum"], a["max"], a["threads"], a["at"]) == (98, 301, 10, 2, "x")
    again = {"kind": "table", "title": "T", "of": "y", "value": "sum", "keys": [],
             "where": {"cause": "a"}}  # fmt: skip
    (all_of_it,) = grouping.group(one_output(**again), [a, b])
    assert (all_of_it["count"], all_of_it["sum"], all_of_it["max"]) == (98, 301, 10)
