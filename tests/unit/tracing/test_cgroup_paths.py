"""Paths of the cgroups that a stream names, told once and while they exist."""

import pytest

from mmaplock_bt.machine import cgroups
from mmaplock_bt.spec import profile
from mmaplock_bt.stream.records import Cgroup, CgroupPaths, Events, Named, Opened, Whose
from mmaplock_bt.tracing.cgroup_paths import CgroupNames

NAMES = frozenset({"long_holds"})
EVENTS = Events("long_holds", ("tid", "cgroup"), [(1, 0), (1, 7), (2, 7)])
NAMING = [Cgroup(7), Named(1, 7, "x"), Whose("0x1", 1, "process", 7, "x"), EVENTS]


@pytest.fixture
def existing(monkeypatch):
    """The hierarchy as the test says; each walk counts."""
    found = {7: "/a"}
    walks = []
    monkeypatch.setattr(cgroups, "paths", lambda: walks.append(1) or dict(found))
    return found, walks


@pytest.mark.parametrize("record", NAMING, ids=lambda record: type(record).__name__)
def test_what_names_a_cgroup_gets_its_path_once(record):
    names = CgroupNames(NAMES, known={7: "/a"})
    assert list(names.hear(record)) == [CgroupPaths({"7": "/a"})]
    assert list(names.hear(record)) == [] == list(names.told())


@pytest.mark.parametrize(
    "record",
    [Cgroup(0), Named(1, 0, "x"), Opened(7), Events("others", ("cgroup",), [(7,)])],
    ids=lambda record: type(record).__name__,
)
def test_what_names_none_gets_none(record):
    assert list(CgroupNames(NAMES, known={7: "/a", 0: "?"}).hear(record)) == []


def test_a_new_cgroup_is_looked_for_again(existing):
    found, walks = existing
    names = CgroupNames(NAMES, known={})
    found[8] = "/b"
    assert list(names.hear(Cgroup(8))) == [CgroupPaths({"8": "/b"})]
    assert len(walks) == 1


def test_one_that_is_gone_is_not_looked_for_without_end(existing):
    _, walks = existing
    names = CgroupNames(NAMES, known={})
    assert list(names.hear(Cgroup(9))) == []
    names.again_s = 0  # as if a while had passed
    assert list(names.hear(Cgroup(9))) == [] == list(names.told())
    assert len(walks) == 1


def test_outputs_that_print_a_cgroup_are_listened_to():
    outputs = profile.load("long-holds").template.declaration.outputs
    names = CgroupNames.for_outputs(outputs)
    assert names.outputs == {"long_holds"}
