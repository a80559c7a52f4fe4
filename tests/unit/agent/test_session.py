"""What a session knows to be lost: not what is only late."""

from collections import Counter

import pytest

from mmaplock_bt.agent.charging import Charging
from mmaplock_bt.agent.session import Session, profile
from mmaplock_bt.agent.top_names import TopNames
from mmaplock_bt.machine import inventory
from mmaplock_bt.stream import bpftrace_json


@pytest.fixture
def session():
    one = Session(profile({}), inventory.offline(), Charging(TopNames([], 0)))
    one._tracer = type("Tracer", (), {"thinning": type("Thinning", (), {"lines": 0})})
    return one


def test_what_is_on_its_way_is_not_lost(session):
    session._printed = Counter({("printed_waits",): 10, ("printed_holds",): 5})
    session.arrived.update(waits=3)
    session.hear([])
    assert session.lost == 0
    session.arrived.update(waits=7, holds=5)
    session._has_all = True
    session.hear([])
    assert session.lost == 0 and session._printed is None


def test_what_did_not_come_though_bpftrace_has_nothing_more_is(session):
    session._printed = Counter({("printed_waits",): 10, ("printed_holds",): 5})
    session.arrived.update(waits=9, holds=6)
    session._has_all = True
    session.hear([])
    assert session.lost == 1


def test_bpftraces_own_word_counts_and_never_twice(session):
    session._printed = Counter({("printed_waits",): 10})
    session._has_all = True
    session.hear([bpftrace_json.Lost(7)])
    assert session.lost == 10


def test_helpers_errors(session):
    full = bpftrace_json.HelperError("map_update_elem", -7)
    session.hear([full, bpftrace_json.HelperError("get_stackid", -17)])
    session.hear([bpftrace_json.HelperError("map_update_elem", -17)])
    session.hear([bpftrace_json.Unparsed("x"), bpftrace_json.Attached(7)])
    assert (session.map_full, session.stack_errors, session.lost) == (1, 1, 1)
    assert (session.unparsed, session.attached) == (1, 7)
