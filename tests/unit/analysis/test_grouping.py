"""Rows grouped into a table, and the rhythm in which they repeat."""

from operator import itemgetter

from hypothesis import given
from hypothesis import strategies as st

from mmaplock_bt.analysis import grouping
from mmaplock_bt.analysis.grouping import Grouping
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


NAMES = ("cause", "hold_ns", "n", "tid", "time_ns", "read_ns")
SMALL = st.integers(0, 3)
ROWS = st.lists(st.tuples(st.sampled_from("ab"), SMALL, SMALL, SMALL, SMALL, st.none() | SMALL))
TOLD = {"kind": "table", "title": "T", "of": "x", "value": "hold_ns", "keys": ["cause"],
        "distinct": {"threads": "tid"}, "sums": ["read_ns"], "worst": ["time_ns"],
        "period": True}  # fmt: skip


@given(ROWS, st.booleans())
def test_rows_that_come_together_are_counted_as_each_alone(rows, weighed):
    output = one_output(**TOLD, **({"weight": "n"} if weighed else {}))
    together, alone = Grouping(output, NAMES), Grouping(output, NAMES)
    together.add(rows)
    for row in rows:
        alone.add([row])
    reads = {name: itemgetter(at) for at, name in enumerate(NAMES)}
    table = together.table(reads)
    assert table == alone.table(reads)
    for row in table:
        its = [one for one in rows if one[0] == row["key"]["cause"]]
        assert row["count"] == sum(one[2] if weighed else 1 for one in its)
        assert row["sum"] == sum(one[1] * (one[2] if weighed else 1) for one in its)
        assert row["max"] == max(one[1] for one in its)
        assert row["threads"] == len({one[3] for one in its})
        told = [one[5] for one in its if one[5] is not None]
        assert row["read_ns"] == (sum(told) if told else None)
