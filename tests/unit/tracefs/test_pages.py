"""Ring-buffer pages: two of a real kernel's, pages of random events, and what is no page."""

import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmaplock_bt.errors import TargetError
from mmaplock_bt.tracefs import formats
from mmaplock_bt.tracefs.pages import (
    ACQUIRED,
    EXEC,
    EXIT,
    GAP,
    GOT,
    KIND,
    MM,
    MODE,
    NAMED,
    RELEASED,
    STACK,
    START,
    TID,
    TIME,
)
from tests.unit.tracefs import kernel

pytestmark = pytest.mark.skipif(sys.byteorder != "little", reason="pages of a little-endian kernel")

EVENTS = st.lists(
    st.tuples(
        st.integers(0, 2**40),
        st.sampled_from([START, ACQUIRED, RELEASED]),
        st.integers(1, 2**22),
        st.integers(0, 2**64 - 1),
        st.integers(0, 1),
        st.lists(st.integers(1, 2**64 - 2), max_size=24),
    ),
    max_size=15,
)


def test_two_pages_of_linux_6_18_are_read_whole():
    reader = kernel.reader()
    events = [one for at in (0, kernel.PAGE) for one in reader.read(kernel.CAPTURED[at:][:4096])]
    kinds = Counter(event[KIND] for event in events)
    assert kinds == {START: 41, ACQUIRED: 42, RELEASED: 41, NAMED: 1, EXEC: 1, EXIT: 1}
    times = [event[TIME] for event in events]
    assert times == sorted(times)
    stacks = [event[STACK] for event in events if event[KIND] == RELEASED]
    assert sum(map(bool, stacks)) == 40  # the last one's is on the page after
    assert all(frame > 2**63 for stack in stacks for frame in stack)
    assert {event[MODE] for event in events if event[KIND] <= RELEASED} == {0, 1}


@given(EVENTS, st.integers(0, 2**58))
def test_what_is_written_is_read(told, start_ns):
    entries, expected, now_ns = [], [], start_ns
    for delta, kind, tid, mm, mode, frames in told:
        now_ns += delta
        entries.append((delta, kernel.lock(kind, tid, mm, mode, got=1)))
        expected.append([now_ns, kind, tid, mm, 7, mode, 1, ()])
        if frames and kind != START:
            entries.append((0, kernel.stack(tid, frames)))
            expected[-1][STACK] = tuple(frames)
    assert kernel.reader().read(kernel.page(start_ns, entries)) == expected


@given(st.binary(max_size=kernel.PAGE), st.integers(0, 2**32 - 1))
def test_nothing_that_is_no_page_raises_or_goes_on_for_ever(data, length):
    reader = kernel.reader()
    reader.read(data)
    reader.read((bytes(8) + length.to_bytes(8, "little") + data).ljust(kernel.PAGE, b"\0"))


def test_a_page_after_a_gap_begins_with_it():
    reader = kernel.reader()
    reader.read(kernel.page(1000, [(7, kernel.lock(START, 11, 0x100))]))
    first, *_ = reader.read(kernel.page(2000, [(5, kernel.lock(RELEASED, 11, 0x100))], missed=23))
    assert first == [2000, GAP, 0, 1007, 23]


def test_a_stack_is_its_own_event_s_though_an_interrupt_came_between():
    entries = [
        (1, kernel.lock(RELEASED, 11, 0x100, 1)),
        (1, kernel.lock(RELEASED, 11, 0x200, 0)),  # of an interrupt, which has the thread's id
        (1, kernel.stack(11, [2**63 + 2])),
        (1, kernel.stack(11, [2**63 + 1])),
    ]
    outer, inner = kernel.reader().read(kernel.page(0, entries))
    assert (outer[STACK], inner[STACK]) == ((2**63 + 1,), (2**63 + 2,))


def test_a_stack_may_come_on_the_next_page():
    reader = kernel.reader()
    (event,) = reader.read(kernel.page(0, [(1, kernel.lock(ACQUIRED, 11, 0x100))]))
    assert reader.read(kernel.page(9, [(1, kernel.stack(11, [2**63 + 1]))])) == []
    assert event[STACK] == (2**63 + 1,)


def test_up_to_6_13_the_cgroup_is_a_path_and_is_not_told():
    text = kernel.TEXTS["mmap_lock/mmap_lock_released"]
    older = text.replace(
        "u64 memcg_id;	offset:16;	size:8;",
        "__data_loc char[] memcg_path;	offset:16;	size:4;",
    )
    older = formats.parse(older.replace("bool write;	offset:24;", "bool write;	offset:20;"))
    assert older.fields["memcg_path"].offset == 16
    reads = type(kernel.reader())(
        kernel.FORMATS["header_page"], {"mmap_lock/mmap_lock_released": older}
    )
    event = kernel.lock(RELEASED, 11, 0x100)[:20] + b"\1\0\0\0"
    (found,) = reads.read(kernel.page(0, [(1, event)]))
    assert (found[TID], found[MM], found[MODE], found[GOT], found[4]) == (11, 0x100, 1, 1, 0)


def test_a_field_that_is_not_there_is_named():
    with pytest.raises(TargetError, match="no field mm "):
        kernel.FORMATS["task/task_rename"].reader("common_pid", "mm")
