"""Cgroups as labels: never more than are listed, whatever is made and removed."""

import pytest

from mmaplock_bt.agent import cgroup_labels
from mmaplock_bt.agent.cgroup_labels import MOST, CgroupLabels
from mmaplock_bt.agent.top_names import OTHER


@pytest.fixture
def now(monkeypatch):
    """The time, which the test sets, in ns."""
    found = [10**12]
    monkeypatch.setattr(cgroup_labels.time, "monotonic_ns", lambda: found[0])
    return found


def test_without_a_list_there_is_no_label():
    one = CgroupLabels()
    assert one.label(7) == "" and one.labels == {""} and one.lacking() == []


def test_those_below_count_and_the_inner_one_is_told(now):
    ids = {"/a/b/c": {3}, "/a": {1, 2, 3, 9}}
    one = CgroupLabels(ids, ids.__getitem__)
    assert [one.label(cgroup) for cgroup in (1, 9, 3, 4, 0)] == ["/a", "/a", "/a/b/c", OTHER, OTHER]


def test_one_that_is_removed_and_made_again_is_the_same(now):
    there = {"/a": {1}}

    def below(path):
        if path not in there:
            raise FileNotFoundError(path)
        return there[path]

    one = CgroupLabels(["/a"], below)
    assert one.label(1) == "/a" and one.lacking() == []
    del there["/a"]
    now[0] += cgroup_labels.AGAIN_NS
    assert one.label(5) == OTHER and one.label(1) == "/a" and one.lacking() == ["/a"]
    there["/a"] = {2}
    assert one.label(2) == OTHER, "it was looked for a moment ago"
    now[0] += cgroup_labels.AGAIN_NS
    assert one.label(2) == "/a"


def test_however_many_there_are_memory_and_labels_are_bounded(now):
    one = CgroupLabels(["/a"], lambda _: {1})
    told = set()
    for cgroup in range(5 * MOST):
        now[0] += cgroup_labels.AGAIN_NS
        told.add(one.label(cgroup))
    assert told == one.labels == {"/a", OTHER}
    assert len(one._known) <= MOST + 2
