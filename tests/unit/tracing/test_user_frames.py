"""Which user stacks are looked at, and what their addresses are called."""

import pytest

from mmaplock_bt.stream import collect
from mmaplock_bt.stream.records import Events
from mmaplock_bt.stream.records import UserFrames as Named
from mmaplock_bt.stream.stacks import Stack
from mmaplock_bt.tracing import user_frames
from mmaplock_bt.tracing.user_frames import Mapping, UserFrames
from tests.unit.tracing.test_elf import at, file

FILE = Mapping(0x7000, 0x9000, 0, "8:1", "/usr/bin/x")
ONE, DATA = 0x7000 + at(0x1000), 0x7000 + at(0x1080)


@pytest.fixture
def frames(monkeypatch):
    """Two processes that map the same file."""
    monkeypatch.setattr(user_frames, "_mappings", lambda _pid: [FILE])
    monkeypatch.setattr(user_frames, "_opened", lambda _process, _mapping: file(64, "<"))
    monkeypatch.setattr(user_frames, "NAMING_S", 60.0)  # where others have the CPUs
    return UserFrames(frozenset({"x"}))


def events(*rows):
    return Events("x", ("pid", "user_stack"), [(p, Stack(map(hex, s))) for p, s in rows])


def test_frames_of_all_processes_are_named(frames):
    assert not [*frames.hear(events((1, [ONE, 5]), (2, [ONE + 1]), (1, [DATA])))]
    assert list(frames.told()) == [
        Named(1, {hex(ONE): "one+0 (x)", hex(DATA): f"x+{hex(DATA - 0x7000)}"}),
        Named(2, {hex(ONE + 1): "one+1 (x)"}),
    ]


def test_a_stack_that_was_heard_is_not_looked_at_again(frames, monkeypatch):
    looks = []
    monkeypatch.setattr(UserFrames, "_note", lambda _self, *what: looks.append(what))
    for _ in range(3):
        list(frames.hear(events((1, [ONE]), (1, [ONE]), (2, [ONE]))))
        list(frames.hear(Events("y", ("pid",), [(9,)])))
    assert sorted(looks) == [(1, [ONE]), (2, [ONE])]


def test_without_time_frames_are_places_and_that_is_said(frames, monkeypatch):
    monkeypatch.setattr(user_frames, "NAMING_S", 0)
    list(frames.hear(events((1, [ONE, DATA]))))
    (told,) = frames.told()
    assert told == Named(1, {hex(a): f"x+{hex(a - 0x7000)}" for a in (ONE, DATA)}, 2)
    (said,) = collect.collect([told], {}).messages({})
    assert said == "2 user frames have no function: there was no time to look them up"
