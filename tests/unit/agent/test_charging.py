"""Waits are charged once, to what was done meanwhile, and nothing is kept for long."""

import pytest

from mmaplock_bt.agent import charging
from mmaplock_bt.agent.cgroup_labels import CgroupLabels
from mmaplock_bt.agent.charging import LATEST_NS, SETTLE_NS, Charging, label
from mmaplock_bt.agent.top_names import TopNames
from mmaplock_bt.stream.records import Events
from mmaplock_bt.stream.stacks import Stack

WAITS = ("time_ns", "wait_ns", "mode", "mm", "thread", "cpu_wait_ns", "cgroup")
HOLDS = ("time_ns", "hold_ns", "mode", "mm", "thread", "comm", "kernel_stack")
SMAPS = Stack(["up_read+1", "show_smaps_rollup+300", "seq_read_iter+4"])
MS, S = 10**6, 10**9
NOBODY = NONE = ""


@pytest.fixture
def books():
    return Charging(TopNames(["reader"], 2))


def waits(*rows):
    return Events("waits", WAITS, [row if len(row) == len(WAITS) else (*row, 1) for row in rows])


def holds(*rows):
    return Events("holds", HOLDS, list(rows))


def test_a_wait_is_charged_to_the_hold_that_it_overlaps(books):
    books.take(waits((2000 * MS, 300 * MS, "write", "0x1", 7, 20 * MS)))
    books.take(holds((1980 * MS, 280 * MS, "read", "0x1", 8, "reader", SMAPS)))
    books.settle(2000 * MS + SETTLE_NS, {})
    assert books.blamed_ns == {
        ("smaps/maps/numa_maps", "write", "reader", NONE): 280 * MS,
        ("waited for a CPU", "write", NOBODY, NONE): 20 * MS,
    }
    assert books.count == 0


def test_a_hold_without_a_stack_is_counted_and_its_cause_unknown(books):
    books.take(waits((2000 * MS, 300 * MS, "write", "0x1", 7, 0)))
    books.take(holds((2000 * MS, 300 * MS, "read", "0x1", 8, "reader", Stack())))
    books.settle(4 * S, {})
    assert books.blamed_ns == {("unknown", "write", "reader", NONE): 300 * MS}
    assert books.stackless == 1


def test_nothing_is_charged_before_it_has_settled(books):
    books.take(waits((2000 * MS, 300 * MS, "read", "0x1", 7, 0)))
    books.settle(2000 * MS + SETTLE_NS - 1, {})
    assert not books.blamed_ns
    books.take(holds((1999 * MS, 300 * MS, "write", "0x1", 8, "late", SMAPS)))
    books.settle(2000 * MS + SETTLE_NS, {})
    assert sum(books.blamed_ns.values()) == 300 * MS
    assert books.blamed_ns["smaps/maps/numa_maps", "read", "late", NONE] == 299 * MS


def test_a_hold_is_kept_while_a_wait_lasts_that_it_may_explain(books):
    books.take(holds((2000 * MS, 900 * MS, "read", "0x1", 8, "reader", SMAPS)))
    for now in range(3, 60):
        books.settle(now * S, {"0x1": 1500 * MS})
    books.take(waits((60 * S, 60 * S - 1500 * MS, "write", "0x1", 7, 0)))
    books.settle(62 * S, {})
    assert books.blamed_ns["smaps/maps/numa_maps", "write", "reader", NONE] == 500 * MS
    assert books.blamed_ns["unexplained", "write", NOBODY, NONE] == 58 * S
    assert books.count == 0


def test_a_lock_that_never_rests_is_charged_in_pieces(books):
    """A wait that lasts for ever keeps others from being charged for LATEST_NS, no longer."""
    books.take(waits((2 * S, MS, "read", "0x1", 7, 0)))
    books.settle(2 * S + LATEST_NS, {"0x1": 1 * S})
    assert not books.blamed_ns
    books.settle(2 * S + SETTLE_NS + LATEST_NS, {"0x1": 1 * S})
    assert sum(books.blamed_ns.values()) == MS


def test_every_ns_is_charged_once(books):
    for turn in range(500):
        end = (turn + 1) * 10 * MS
        books.take(waits((end, 9 * MS, "write", "0x1", 7, 0)))
        books.take(holds((end - MS, 8 * MS, "read", "0x1", 8, f"reader-{turn}", SMAPS)))
        books.settle(end, {})
    books.settle(60 * S, {})
    assert sum(books.blamed_ns.values()) == 500 * 9 * MS
    assert len({culprit for _, _, culprit, _ in books.blamed_ns}) <= 2 + 2


def test_more_than_can_be_kept_is_charged_at_once(books, monkeypatch):
    monkeypatch.setattr(charging, "MOST", 100)
    for turn in range(1000):
        books.take(waits((turn, 1, "read", hex(turn), 7, 0)))
        assert books.count <= 101
    books.settle(60 * S, {})
    assert sum(books.blamed_ns.values()) == 1000


def test_a_month_of_churn_leaves_nothing(books):
    """In every ten minutes other processes, other address spaces, other stacks."""
    for minute in range(0, 30 * 24 * 60, 10):
        end = (minute + 1) * 60 * S
        stack = Stack([f"function_{minute}+1"])
        books.take(waits((end, 20 * MS, "write", hex(minute), minute, 0)))
        books.take(holds((end, 10 * MS, "read", hex(minute), minute + 1, f"p{minute}", stack)))
        books.settle(end, {hex(minute): end - 20 * MS})
        assert books.count <= 4
    books.settle(2**63, {})
    assert books.count == len(books._spaces) == 0
    assert len(books.blamed_ns) <= 2 * (1 + 1 + 2)
    assert sum(books.blamed_ns.values()) > 30 * 24 * 6 * 10 * MS


def test_a_convoy_counts_once(books):
    books.take(holds((2000 * MS, 100 * MS, "read", "0x1", 8, "reader", SMAPS)))
    books.take(waits((2001 * MS, 90 * MS, "write", "0x1", 7, 0)))
    books.take(waits((2002 * MS, 50 * MS, "read", "0x1", 9, 0)))
    books.settle(4 * S, {})
    books.settle(5 * S, {})
    assert books.convoys == 1


@pytest.mark.parametrize(
    ("cause", "told"),
    [
        ("fork", "fork"),
        ("madvise(MADV_FREE)", "madvise(MADV_FREE)"),
        ("madvise(MADV_HWPOISON)", "madvise"),
        ("unknown (no stack)", "unknown"),
        ("other(a < b < c)", "other"),
        ('x"\n\x1b', "other"),
        ("waited for a CPU", "waited for a CPU"),
    ],
)
def test_causes_are_of_a_bounded_number(cause, told):
    assert label(cause) == told
    assert len(charging.labels()) < 100


def test_waits_are_told_by_the_cgroup_of_the_victim(books):
    ids = {"/a": {1, 2}, "/a/b": {2}}
    books.cgroups = CgroupLabels(ids, ids.__getitem__)
    hold = (2000 * MS, 300 * MS, "read", "0x1", 8, "reader", SMAPS)
    books.take(waits(*((2000 * MS, ms * MS, "write", "0x1", ms, 0, ms) for ms in (1, 2, 3))))
    books.take(holds(hold))
    books.settle(2**63, {})
    cause = "smaps/maps/numa_maps", "write", "reader"
    told = {(*cause, "/a"): MS, (*cause, "/a/b"): 2 * MS, (*cause, "other"): 3 * MS}
    assert books.blamed_ns == told
    books.follow(["reader"], 2, ["/a"])
    assert books.blamed_ns.keys() == {(*cause, "/a"), (*cause, "other")}
    books.follow(["reader"], 2, [])
    assert not books.blamed_ns
