"""Which user stacks are looked at, and what their addresses are called."""

import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from mmaplock_bt.stream import collect
from mmaplock_bt.stream.records import Events
from mmaplock_bt.stream.records import UserFrames as Named
from mmaplock_bt.stream.stacks import Stack
from mmaplock_bt.tracing import patience, user_frames
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


def test_a_fork_is_asked_only_for_what_lies_nowhere_in_the_command(frames, monkeypatch):
    """Reading the maps of one that ends may leave its teardown to us, where it is not seen."""
    asked = []
    heap = Mapping(0x9000, 0xA000, 0, "", "")
    monkeypatch.setattr(user_frames, "_executable", lambda _pid: "x")
    monkeypatch.setattr(user_frames, "_mappings", lambda pid: asked.append(pid) or [FILE, heap])
    frames.remember(1)
    for pid in (2, 3):
        list(frames.hear(events((pid, [ONE, heap.start]))))
        assert asked == [1, 1], "the command, whether that still is no code"
    list(frames.hear(events((4, [ONE, heap.end]))))
    assert asked == [1, 1, 4]
    assert list(frames.told()) == [Named(pid, {hex(ONE): "one+0 (x)"}) for pid in (2, 3, 4)]


def test_what_was_no_code_when_it_was_remembered_may_be_some_by_now(frames, monkeypatch):
    """A library is mapped in pieces: as a whole without code, then its code over that."""
    mapped = [Mapping(FILE.start, FILE.end, 0, "", "")]
    monkeypatch.setattr(user_frames, "_executable", lambda _pid: "x")
    monkeypatch.setattr(user_frames, "_mappings", lambda pid: mapped if pid == 1 else [])
    frames.remember(1)
    mapped = [FILE]
    list(frames.hear(events((2, [ONE]))))
    assert list(frames.told()) == [Named(2, {hex(ONE): "one+0 (x)"})]


@pytest.fixture
def waiting():
    """A process that maps nothing any more."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.write(b"x")
        process.stdin.flush()
        process.stdout.read(1)
        yield process.pid


def test_all_mappings_are_told_and_those_of_code_with_their_file(waiting):
    told = user_frames._mappings(waiting)
    assert all(one.start < one.end for one in told)
    assert all(one.end <= two.start for one, two in pairwise(told))
    for line in Path(f"/proc/{waiting}/maps").read_text().splitlines():
        span, permissions, *_, path = line.split(None, 5)
        start, end = (int(part, 16) for part in span.split("-"))
        (one,) = [one for one in told if one.start <= start and end <= one.end]
        assert bool(one.file) == ("x" in permissions)
        assert one.path == (path if one.file else "")


def test_a_process_without_a_perf_map_is_asked_again_however_busy_the_machine(frames, monkeypatch):
    """It was taken for one that hangs: its own maps were not read any more."""
    nothing = patience.Waited(None, 60.0, hangs=False)
    monkeypatch.setattr(patience, "waited", lambda _seconds, _work: nothing)
    assert frames._patiently(1, lambda: None) is None
    monkeypatch.undo()
    assert frames._patiently(1, lambda: 3) == 3
