"""Looks at what is open, in maps that are none of bpftrace's."""

import pytest

from mmaplock_bt.stream.records import BITS, HOLDING, WAITING, Running
from mmaplock_bt.stream.stacks import Stack
from mmaplock_bt.tracing import current_stack
from mmaplock_bt.tracing.open_spans import OpenSpans

TID, MM, SINCE_NS = 7, 0xFFFF888100000000, 1000


class Entries(dict):
    """A map of which that is asked for."""

    def items(self):
        return dict(self)


@pytest.fixture
def looked():
    """Looks while there is one hold and one wait; `meanwhile` what happens as stacks are read."""

    def look(monkeypatch, meanwhile):
        began = {HOLDING: SINCE_NS << BITS["HOLD_TIME"], WAITING: SINCE_NS << BITS["WAIT_TIME"]}
        maps = {name: Entries({(TID + at, MM): began[name]}) for at, name in enumerate(began)}
        spans = OpenSpans(1, 1, None, found=maps)
        spans.identities.note(Running(TID, hex(MM), SINCE_NS + 5, Stack(["in_its_hold+1"])))

        def of_thread(tid):
            meanwhile(maps)
            return ["now+1"]

        monkeypatch.setattr(current_stack, "of_thread", of_thread)
        (told,) = spans.look(0)
        return told.stacks

    return look


def test_a_threads_stack_is_that_of_its_span(monkeypatch, looked):
    assert looked(monkeypatch, lambda _: None) == {str(TID): ["now+1"], str(TID + 1): ["now+1"]}


@pytest.mark.parametrize("value", [None, SINCE_NS + 1])
def test_the_stack_of_a_span_that_ended_meanwhile_is_not_its(monkeypatch, looked, value):
    """Before it was read: of a populate the next munmap was told."""

    def meanwhile(maps):
        for name, bits in ((HOLDING, "HOLD_TIME"), (WAITING, "WAIT_TIME")):
            for key in list(maps[name]):
                maps[name] = Entries({key: value << BITS[bits]} if value else {})

    sampled = {str(TID): ["in_its_hold+1"], str(TID + 1): []}
    assert looked(monkeypatch, meanwhile) == sampled
