"""What one script gives the next; by maps that change while they are read."""

import os

import pytest

from mmaplock_bt.agent import handover
from mmaplock_bt.agent.handover import LATER_NS, inherit, take_over

MM = 0xFFFF888100000000


class Map:
    """A map of the kernel's; `then` is done after it was read so many times."""

    def __init__(self, entries=(), then=None):
        self.entries, self.then, self.reads = dict(entries), then or {}, 0

    def items(self):
        found = dict(self.entries)
        self.reads += 1
        self.then.get(self.reads, lambda: None)()
        return found

    def add(self, key, value):
        self.entries.setdefault(key, value)

    def put(self, key, value):
        self.entries[key] = value

    def delete(self, key):
        self.entries.pop(key, None)

    def get(self, key):
        return self.entries.get(key)

    def take(self, key):
        self.reads += 1
        self.then.get(self.reads, lambda: None)()
        return self.entries.pop(key, None)


class Maps:
    """Those of a script, and its turns."""

    def __init__(self, **spans):
        self.spans = {"waiting": Map(), "holding": Map(), "blocked": Map()} | spans
        self.turn = {}

    def span(self, name):
        return self.spans.get(name)

    def turns(self):
        return dict(self.turn)

    def set_turn(self, turn, cpus):
        self.turn |= dict.fromkeys(cpus, turn)


def test_waits_from_before_are_given_and_those_it_knows_are_not():
    old = Maps(waiting=Map({(7, MM): 400, (8, MM): 800}), ready=Map({(7, MM): 3}))
    new = Maps(waiting=Map({(8, MM): 801}), ready=Map())
    assert inherit(old, new) == 1
    assert new.spans["waiting"].entries == {(7, MM): 400, (8, MM): 801}
    assert new.spans["ready"].entries == {(7, MM): 3}


def test_one_that_ends_meanwhile_is_not_left_behind():
    waiting = Map({(7, MM): 400})
    waiting.then = {1: lambda: waiting.delete((7, MM))}
    new = Maps()
    assert inherit(Maps(waiting=waiting), new) == 0
    assert new.spans["waiting"].entries == {}


def test_one_that_ends_and_begins_again_is_the_new_scripts_own():
    old, ours = Map({(7, MM): 400}), Map()

    def again():
        old.put((7, MM), 900)
        ours.put((7, MM), 901)

    old.then = {2: again}
    old.then[1] = again
    assert inherit(Maps(waiting=old), Maps(waiting=ours)) == 0
    assert ours.entries == {(7, MM): 901}


@pytest.mark.parametrize("ends", [False, True])
def test_one_that_begins_while_another_is_taken_back_stays(ends):
    """The first has ended, and is in the new map all the same; its thread waits again."""
    old, ours = Map({(7, MM): 400}), Map()
    old.then = {1: lambda: old.delete((7, MM))}

    def begins():
        old.put((7, MM), 900)
        ours.put((7, MM), 901)

    ours.then = {2: begins}
    if ends:
        ours.add = lambda key, value: (Map.add(ours, key, value), value == 901 and old.delete(key))
    assert inherit(Maps(waiting=old), Maps(waiting=ours)) == 0
    assert ours.entries == ({} if ends else {(7, MM): 901})


def test_a_hold_blocks_since_its_first_waiter():
    old = Maps(blocked=Map({(MM,): 10**9, (2,): 5 * 10**9, (3,): 7}))
    new = Maps(blocked=Map({(MM,): 4 * 10**9, (2,): 5 * 10**9 + LATER_NS}))
    inherit(old, new)
    assert new.spans["blocked"].entries == {(MM,): 10**9, (2,): 5 * 10**9 + LATER_NS, (3,): 7}


@pytest.mark.parametrize("after", [{}, {(MM,): 9}])
def test_one_that_is_let_go_meanwhile(after):
    blocked = Map({(MM,): 7})
    blocked.then = {1: lambda: setattr(blocked, "entries", after)}
    new = Maps()
    inherit(Maps(blocked=blocked), new)
    assert new.spans["blocked"].entries == after


@pytest.fixture
def rename(monkeypatch):
    """A rename of this process on the CPU that it was put on; both scripts see it, or none."""
    state = {"cpu": None, "missed": 0, "renames": 0}

    def here(_pid, cpus):
        if cpus == {1}:
            raise OSError(22, "offline")
        state["cpu"] = min(cpus)

    def renamed():
        state["renames"] += 1
        if state["missed"]:
            state["missed"] -= 1
            return
        for maps in state["scripts"]:
            maps.turn[state["cpu"]] = maps.turn.get(state["cpu"], 0) + 1

    monkeypatch.setattr(os, "sched_setaffinity", here)
    monkeypatch.setattr(handover.bpf_maps, "possible_cpus", lambda: 3)
    monkeypatch.setattr(handover, "take_turn", renamed)
    return state


def test_each_cpu_takes_its_turn_once_and_one_that_is_offline_is_told(rename):
    old, new = rename["scripts"] = Maps(), Maps()
    old.set_turn(1, range(3))
    rename["missed"] = 2
    take_over(old, new)
    assert old.turn == {0: 2, 1: 2, 2: 2} and new.turn == {0: 1, 1: 1, 2: 1}
    assert rename["renames"] == 4
