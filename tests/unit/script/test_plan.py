"""Which profiles the tracefs engine serves, and how it says which not."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from mmaplock_bt import resources
from mmaplock_bt.errors import TargetError
from mmaplock_bt.machine import inventory
from mmaplock_bt.script.render import render
from mmaplock_bt.spec import profile
from mmaplock_bt.spec.profile import merge

MACHINE = replace(inventory.offline(), facts={"engine": "tracefs"})
SERVED = (
    *("hold-times", "wait-times", "long-holds", "overview", "blame", "convoys", "foreign-holds"),
)
README = (Path(__file__).parents[3] / "README.md").read_text()


def planned(name, **changes):
    return render(replace(profile.load(name), **changes), MACHINE).plan


@pytest.mark.parametrize("name", SERVED)
def test_a_profile_is_served(name):
    plan = planned(name)
    assert plan.columns and plan.books
    assert plan.events == 4 + 3 - (not plan.waits) - (not plan.holds)


def test_all_others_are_refused_in_one_sentence_that_names_what_they_ask_for():
    names = [name for name in resources.shipped_names("profiles", ".yaml") if name not in SERVED]
    assert names == ["fault-path", "stuck-locks", "writer-starvation"]
    for name in names:
        with pytest.raises(
            TargetError, match=rf"^{name} asks for '(@\w+|unroll)', which"
        ) as refusal:
            planned(name)
        assert len(refusal.value.sentences) == 1
        told = refusal.value.mend
        assert {one for one in SERVED if one in told} == set(SERVED), "the sentence names others"


def test_the_readme_names_those_that_are_served():
    (told,) = re.findall(r"serves\s+(`hold-times`[^.]*)\.", README)
    assert set(re.findall(r"`([\w-]+)`", told)) == set(SERVED)


def test_what_is_asked_for_is_what_the_blocks_need():
    assert (planned("hold-times").waits, planned("hold-times").holds) == (False, True)
    assert (planned("wait-times").waits, planned("wait-times").holds) == (True, False)
    assert planned("hold-times").stacks_of == frozenset()
    assert planned("long-holds").stacks_of == {"hold_ended"}
    assert planned("blame").watch == (10**6, 2 * 10**8)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"filter": {"owner": {"pid": [1]}}}, "-p and --owner-comm"),
        ({"filter": {"owner": {"comm": "x"}}}, "-p and --owner-comm"),
        ({"filter": {"actor": {"cgroup": ["/x"]}}}, "--actor-cgroup"),
        ({"sample": 8}, "--sample"),
        ({"max_overhead_ppm": 20_000}, "--max-overhead"),
        ({"locks": "contended"}, "--locks contended"),
    ],
)
def test_what_only_bpftrace_sees_is_refused(changes, named):
    name = "overview" if "locks" in changes else "hold-times"
    if "filter" in changes:
        changes = {"filter": merge(profile.load(name).filter, changes["filter"])}
    with pytest.raises(TargetError, match=named):
        planned(name, **changes)
