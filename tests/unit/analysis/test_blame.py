"""Waits joined with holds: every ns goes somewhere, and to the right one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmaplock_bt.analysis import blame, convoys
from mmaplock_bt.analysis.naming import Rows

times = st.tuples(st.integers(0, 1000), st.integers(0, 1000))


def span(kind, began, ended, tid, *, mode="read", mm="a"):
    row = {"time_ns": ended, f"{kind}_ns": ended - began, "tid": tid, "pid": tid, "mode": mode}
    return row | {"mm": mm, "comm": "x", "cause": "mmap", "kernel_stack": [], "owner_pid": 1}


def charges(waits, holds):
    return list(blame.charges(Rows(more=waits), Rows(more=holds)))


def found(waits, holds):
    return convoys.find(Rows(more=waits), Rows(more=holds))


@st.composite
def spans(draw, kind):
    drawn = draw(st.lists(st.tuples(times, st.integers(1, 6), st.sampled_from("ab")), max_size=12))
    return [span(kind, min(t), max(t), tid, mm=mm) for t, tid, mm in drawn]


@given(spans("wait"), spans("hold"))
def test_charged_and_unexplained_are_the_waits_to_the_ns(waits, holds):
    rows = charges(waits, holds)
    assert sum(row["charged_ns"] for row in rows) == sum(wait["wait_ns"] for wait in waits)
    assert all(row["charged_ns"] > 0 for row in rows)
    assert all(row["read_ns"] + row["write_ns"] == row["charged_ns"] for row in rows)


@given(spans("wait"), spans("hold"))
def test_nobody_is_charged_outside_a_hold(waits, holds):
    """The slow way: ns by ns."""
    for wait in waits:
        began = wait["time_ns"] - wait["wait_ns"]
        others = [h for h in holds if h["mm"] == wait["mm"] and h["tid"] != wait["tid"]]
        covered = sum(
            any(h["time_ns"] - h["hold_ns"] <= ns < h["time_ns"] for h in others)
            for ns in range(began, wait["time_ns"])
        )
        rows = charges([wait], holds)
        charged = sum(row["charged_ns"] for row in rows if row["charged"] == "charged")
        assert charged == covered


def test_many_victims_of_a_short_hold_outrank_a_long_one_without_any():
    holds = [span("hold", 0, 2000, tid=1, mm="lonely"), span("hold", 100, 105, tid=2)]
    waits = [span("wait", 100, 105, tid) for tid in range(10, 210)]
    rows = charges(waits, holds)
    assert {row["tid"] for row in rows} == {2}
    assert sum(row["charged_ns"] for row in rows) == 200 * 5


def test_two_holders_at_once_share():
    holds = [span("hold", 0, 100, tid=1), span("hold", 50, 100, tid=2)]
    rows = charges([span("wait", 0, 100, tid=9)], holds)
    assert {row["tid"]: row["charged_ns"] for row in rows} == {1: 75, 2: 25}


def test_a_convoy():
    reader = span("hold", 0, 100, tid=1)
    writer = span("wait", 10, 101, tid=2, mode="write")
    behind = [span("wait", 20 + n, 102, tid=3 + n) for n in range(3)]
    before = span("wait", 5, 103, tid=8)  # asked before the writer did
    after = span("wait", 100, 130, tid=9)  # asked when the reader had let go
    (row,) = found([writer, *behind, before, after], [reader])
    assert (row["tid"], row["writer_tid"], row["readers"]) == (1, 2, 3)
    assert row["readers_wait_ns"] == 82 + 81 + 80 and row["readers_max_ns"] == 82
    assert [wait["tid"] for wait in row["queued"]] == [2, 3, 4, 5]


def test_no_writer_or_no_readers_is_no_convoy():
    reader = span("hold", 0, 100, tid=1)
    assert found([span("wait", 10, 101, tid=2, mode="write")], [reader]) == []
    assert found([span("wait", 10, 101, tid=2)], [reader]) == []
    short = span("hold", 0, 20, tid=1)  # covers a tenth of the writer's wait
    waits = [span("wait", 10, 110, tid=2, mode="write"), span("wait", 15, 110, tid=3)]
    assert found(waits, [short]) == []


def asked(**more):
    return {"mm": "1", "tid": 1, "time_ns": 100, "wait_ns": 50, "overtakes": 0,
            "writers_before": 0, "write_hold_ns": 0} | more  # fmt: skip


def held(end, ns, mode="read", tid=2):
    return {"mm": "1", "tid": tid, "pid": tid, "comm": "x", "mode": mode, "time_ns": end,
            "hold_ns": ns, "kernel_stack": []}  # fmt: skip


@pytest.mark.parametrize(
    ("row", "holds", "label"),
    [
        (asked(), [held(95, 60)], "one long hold"),
        (asked(writers_before=7, write_hold_ns=40), [held(60, 8, "write")], "a queue of writers"),
        (asked(overtakes=9), [held(60, 9), held(70, 9)], "starved by overtaking readers"),
        (asked(), [], "unexplained"),
        (asked(), [held(300, 5), held(49, 40), held(95, 60, tid=1)], "unexplained"),
    ],
)
def test_the_label_says_why(row, holds, label):
    blame.join([row], Rows(more=holds))
    assert row["label"] == label


def test_a_wait_that_met_nobody_is_not_one_long_hold():
    assert blame.label({"wait_ns": 0, "behind": []}) == "unexplained"


def reasons(rows):
    found = {}
    for row in rows:
        who = row["charged"] if row["hold"] is None else row["tid"]
        found[who] = found.get(who, 0) + row["charged_ns"]
    return found


def test_what_no_hold_explains_has_its_reasons():
    known = {"contended": 1, "cpu_wait_ns": 20, "short_ns": 30}
    wait = span("wait", 0, 100, tid=9) | known
    holds = [span("hold", 0, 10, tid=1)]
    told = {1: 10, "waited for a CPU": 20, "behind short holds": 30, "unexplained": 40}
    assert reasons(charges([wait], holds)) == told
    assert reasons(charges([wait], [span("hold", 0, 70, tid=1)])) == {
        1: 70, "waited for a CPU": 20, "behind short holds": 10,
    }  # fmt: skip
    lonely = span("wait", 0, 100, tid=9) | {"contended": 0, "cpu_wait_ns": 0, "short_ns": 0}
    assert reasons(charges([lonely], [])) == {"met nobody": 100}


def test_who_has_the_lock_and_no_cpu_keeps_the_next_one_waiting():
    """While nobody holds it: who does is charged first."""
    first = span("wait", 0, 50, tid=1, mode="write") | {"cpu_wait_ns": 30}
    next_one = span("wait", 10, 90, tid=2, mode="write")
    hold = span("hold", 40, 90, tid=3)
    rows = [row for row in charges([first, next_one], [hold]) if row["victim_tid"] == 2]
    assert reasons(rows) == {3: 50, "behind a waiter without a CPU": 20, "unexplained": 10}


def test_a_crowd_without_cpus_is_charged_for_once():
    """Threads that queue at once: a row for each pair of them took minutes."""
    crowd = [
        span("wait", 0, 1009 + tid, tid=tid) | {"cpu_wait_ns": 1000 + tid, "contended": 1}
        for tid in range(1, 212)
    ]
    rows = [row for row in charges(crowd, []) if row["victim_tid"] == 211]
    assert reasons(rows) == {"behind a waiter without a CPU": 1210, "waited for a CPU": 10}
    assert len(rows) == 2


@given(spans("wait"), spans("hold"), st.lists(st.integers(0, 400), min_size=24, max_size=24))
def test_with_reasons_the_rows_still_are_the_waits_to_the_ns(waits, holds, ns):
    for wait, cpu_wait_ns, short_ns in zip(waits, ns, ns[12:], strict=False):
        wait |= {"cpu_wait_ns": cpu_wait_ns, "short_ns": short_ns, "contended": short_ns % 2}
    rows = charges(waits, holds)
    assert sum(row["charged_ns"] for row in rows) == sum(wait["wait_ns"] for wait in waits)
    assert all(row["charged_ns"] > 0 for row in rows)
