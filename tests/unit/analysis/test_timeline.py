"""Histograms over time: whatever ticks tell, the steps add up to the output."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mmaplock_bt.analysis import analyse
from mmaplock_bt.stream.records import Ticked, Trailer
from tests import builders

MS = 10**6
OPENED = 7 * 10**12
HOLD = {"hold": {"kind": "histogram", "title": "Hold time", "unit": "ns", "keys": ["mode"]}}
Tick = tuple[int, list[list[int]]]  # when (ns after the opening), counts


def result(
    total: dict[tuple[int, int], int], *ticks: Tick, closed: int = 1000 * MS, sample: int = 1
):
    head = builders.head(builders.declared(**HOLD))
    object.__setattr__(head.profile, "sample", sample)
    lines = [
        head.line(),
        builders.printed(f"open|{OPENED}"),
        *(Ticked(OPENED + at, {"hold": counts}).line() for at, counts in ticks),
        builders.printed(f"close|{OPENED + closed}"),
        builders.map_line("hold", {f"{mode},{lower}": n for (mode, lower), n in total.items()}),
        Trailer("interrupt", closed).line(),
    ]
    return analyse.analyse_lines(lines)


def cells(found):
    return {row["key"]["mode"]: [tuple(one) for one in row["cells"]] for row in found["hold"]}


def test_what_came_when():
    found = result(
        {(0, 1024): 5, (0, 1152): 3, (1, 64): 13},
        (100 * MS, [[0, 1024, 2], [0, 1152, 3]]),
        (200 * MS, [[1, 64, 7]]),
    ).timeline
    # Both of 1024 and 1152 lie between powers of two; the rest came after the last tick.
    assert cells(found.outputs) == {
        "read": [(0, 1024, 2047, 5), (1, 1024, 2047, 3)],
        "write": [(1, 64, 127, 13)],
    }
    assert found.ends_ns == [100 * MS, 1000 * MS]


def test_steps_are_as_long_as_the_longest():
    """Four of 50 ms, then 100 ms each: two of the first make one."""
    times = [50, 100, 150, 200, 300, 401, 499]
    ticks = [(at * MS, [[0, 1, 1]]) for at in times]
    found = result({(0, 1): 7}, *ticks, closed=500 * MS).timeline
    assert found.ends_ns == [100 * MS, 200 * MS, 300 * MS, 401 * MS, 500 * MS]
    assert cells(found.outputs)["read"] == [
        (0, 1, 1, 2), (1, 1, 1, 2), (2, 1, 1, 1), (3, 1, 1, 1), (4, 1, 1, 1),
    ]  # fmt: skip


def test_of_a_sample_counts_are_scaled_as_in_the_output():
    found = result({(0, 1): 7}, (MS, [[0, 1, 3]]), sample=16)
    row = found.histogram("hold")[0]
    assert sum(one[3] for one in cells(found.timeline.outputs)["read"]) == row["count"] == 7 * 16


def test_without_ticks_there_is_none():
    assert result({(0, 1): 7}).timeline is None
    assert result({}, (MS, [[0, 1, 3]])).timeline is None  # a stream that was cut off


counted = st.dictionaries(
    st.tuples(st.integers(0, 1), st.integers(0, 2**63)), st.integers(1, 10**9), max_size=6
)
growth = st.tuples(st.integers(0, 3), st.integers(0, 2**63), st.integers(0, 10**9)).map(list)
told = st.lists(st.tuples(st.integers(-10, 2000 * MS), st.lists(growth)), max_size=12)


@given(counted, told)
def test_whatever_ticks_say_the_steps_add_up(total, ticks):
    """A saved stream may hold anything; ticks that tell too much, or of other buckets, are cut."""
    found = result(total, *ticks)
    if found.timeline is None:
        return
    sums: Counter[str] = Counter()
    for mode, one in cells(found.timeline.outputs).items():
        sums[mode] += sum(n for *_, n in one)
        assert all(0 <= step < len(found.timeline.ends_ns) and n > 0 for step, *_, n in one)
    assert sums == {row["key"]["mode"]: row["count"] for row in found.histogram("hold")}
