"""The lock's state machine in Python: the books balance whatever threads do, and what is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmaplock_bt.tracefs.pages import ACQUIRED, RELEASED, START
from mmaplock_bt.tracefs.spans import Spans

READ, WRITE = 0, 1


class Told:
    """Spans, and what they told."""

    def __init__(self, waits=True, holds=True, in_scope=lambda _: True):
        self.waits, self.held = [], []
        self.began = 0
        self.spans = Spans(
            waits, holds, in_scope,
            lambda event: None,
            lambda event, began: self.waits.append((event[5], event[0] - began)),
            lambda event, asked: None,
            lambda event, began, mode: self.held.append((mode, event[0] - began)),
        )  # fmt: skip
        self.takes = {
            START: self.spans.start,
            ACQUIRED: self.spans.acquired,
            RELEASED: self.spans.released,
        }

    def take(self, *events):
        for time_ns, kind, mode, *more in events:
            got = more[0] if more else 1
            self.takes[kind]([time_ns, kind, 11, 0x100, 0, mode, got, ()])
        return self


def residue(spans):
    books = spans.books
    asked = books.starts + books.downgrades - books.acquires - books.failed - len(spans.waiting)
    late = sum(hold[3] for hold in spans.holding.values())
    held = books.acquires - books.releases - books.downgrades - (len(spans.holding) - late)
    return asked, held


def test_a_wait_and_a_hold():
    told = Told().take((10, START, WRITE), (13, ACQUIRED, WRITE), (20, RELEASED, WRITE))
    assert (told.waits, told.held) == ([(WRITE, 3)], [(WRITE, 7)])


@pytest.mark.parametrize("waits", [True, False])
def test_a_downgrade_ends_the_write_hold_and_begins_a_read_hold(waits):
    events = [(10, START, WRITE)] * waits
    told = Told(waits=waits).take(
        *events, (13, ACQUIRED, WRITE), (20, ACQUIRED, READ), (31, RELEASED, READ)
    )
    assert told.held == [(WRITE, 7), (READ, 11)]
    assert told.spans.books.downgrades == 1
    assert residue(told.spans)[1] == 0


def test_a_failed_trylock_inside_an_own_hold_is_no_wait_and_ends_nothing():
    told = Told().take(
        (10, START, WRITE), (11, ACQUIRED, WRITE),
        (12, START, READ), (13, ACQUIRED, READ, 0), (20, RELEASED, WRITE),
    )  # fmt: skip
    assert (told.held, told.spans.books.failed) == ([(WRITE, 9)], 1)
    assert residue(told.spans) == (0, 0)


def test_a_nested_read_does_not_end_the_outer_one():
    told = Told().take(
        (10, START, READ), (11, ACQUIRED, READ), (12, START, READ), (13, ACQUIRED, READ),
        (14, RELEASED, READ), (20, RELEASED, READ),
    )  # fmt: skip
    assert told.held == [(READ, 9)]
    assert residue(told.spans) == (0, 0)


def test_a_read_s_release_by_an_interrupt_ends_no_own_write_hold():
    told = Told().take(
        (10, START, WRITE), (11, ACQUIRED, WRITE), (12, RELEASED, READ), (20, RELEASED, WRITE)
    )
    assert (told.held, told.spans.books.orphan_releases) == ([(WRITE, 9)], 1)


def test_a_hold_asked_for_before_the_window_is_measured_and_is_in_no_book():
    told = Told().take((11, ACQUIRED, READ), (20, RELEASED, READ))
    assert (told.held, told.spans.books.acquires) == ([(READ, 9)], 0)
    assert told.spans.books.orphan_releases == 1


def test_after_a_gap_no_hold_is_longer_than_what_was_seen_of_it():
    told = Told().take((10, START, READ), (11, ACQUIRED, READ))
    told.spans.forget()
    told.take((90, RELEASED, READ))
    assert told.held == []
    assert residue(told.spans) != (0, 0)


def test_open_spans_are_printed_as_bpftrace_s_maps():
    told = Told().take((10, START, READ), (11, ACQUIRED, READ), (12, START, READ))
    assert told.spans.printed() == ({f"11,{0x100}": 11 << 4}, {f"11,{0x100}": 12 << 2})


@st.composite
def locking(draw):
    """What threads do to two locks: each thread's own order, in any order among threads."""
    events, now_ns = [], 0
    threads = {tid: [] for tid in range(1, 4)}  # what each still has to do
    for tid in threads:
        for _ in range(draw(st.integers(0, 6))):
            mm, what = (
                draw(st.integers(1, 2)),
                draw(st.sampled_from(["read", "write", "down", "fail"])),
            )
            mode = int(what in ("write", "down"))
            steps = [(START, mode, 1), (ACQUIRED, mode, int(what != "fail"))]
            if what == "down":
                steps += [(ACQUIRED, READ, 1), (RELEASED, READ, 1)]
            elif what != "fail":
                steps.append((RELEASED, mode, 1))
            threads[tid] += [(tid, mm, *step) for step in steps]
    while any(threads.values()):
        tid = draw(st.sampled_from([tid for tid, left in threads.items() if left]))
        now_ns += draw(st.integers(1, 1000))
        tid, mm, kind, mode, got = threads[tid].pop(0)
        events.append([now_ns, kind, tid, mm, 0, mode, got, ()])
    return events


@given(locking(), st.booleans(), st.integers(0, 40), st.integers(0, 40))
def test_the_books_balance_in_any_part_of_what_threads_do(events, waits, first, last):
    told = Told(waits=waits)
    for event in events[first : len(events) - last]:
        if waits or event[1] != START:
            told.takes[event[1]](event)
    asked, held = residue(told.spans)
    assert held == 0
    assert asked == 0 or not waits
    assert all(ns >= 0 for _, ns in told.held + told.waits)


@given(locking())
def test_what_is_whole_is_counted_to_the_last(events):
    told = Told()
    for event in events:
        told.takes[event[1]](event)
    books = told.spans.books
    assert books.starts == sum(event[1] == START for event in events)
    assert books.failed == sum(not event[6] for event in events)
    assert books.releases == sum(event[1] == RELEASED for event in events)
    assert len(told.held) == books.releases + books.downgrades
    assert not told.spans.holding and not told.spans.waiting
    assert books.orphan_releases == 0
