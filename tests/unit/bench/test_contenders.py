"""The table of contenders."""

import pytest

from bench.contenders import BASE, HOLDER, contenders
from bench.tracer import PLACE
from bench.workshop import PRODUCTS
from mmaplock_bt import resources

VERSIONS = ("0.17", "0.23", "0.27")
KNOWN = {"python", "work", "holder", "idle_pid", "idle_cgroup", *PRODUCTS,
         *(f"bpftrace:{version}" for version in VERSIONS)}  # fmt: skip


@pytest.fixture
def every():
    return contenders(resources.shipped_names("profiles", ".yaml"), VERSIONS)


def test_names_are_unique_and_the_c_peer_is_there(every):
    names = [one.name for one in every]
    assert len(set(names)) == len(names)
    assert BASE in names


def test_every_shipped_profile_on_every_bpftrace(every):
    for profile in resources.shipped_names("profiles", ".yaml"):
        found = {one.by for one in every if one.what == f"mmaplock-bt {profile}"}
        assert found == set(VERSIONS), profile


def test_every_place_is_known_and_every_holder_is_held(every):
    for one in every:
        words = [word for word in one.words if "\n" not in word]
        assert set(PLACE.findall(" ".join(words))) <= KNOWN
        assert (HOLDER in words or "{holder}" in words) == (one.ready == "holder"), one.name


def test_the_quick_choice_is_small_and_can_be_compared():
    every = contenders(resources.shipped_names("profiles", ".yaml"), VERSIONS[:1])
    quick = [one.what for one in every if one.quick]
    ours = {f"mmaplock-bt {name}" for name in ("hold-times", "blame")}
    assert {"nothing", BASE, *ours, *(f"{one} --engine tracefs" for one in ours)} <= set(quick)
    assert len(quick) <= 16


def test_a_bpftrace_alone():
    assert {one.by for one in contenders(["blame"], ["0.17"])} == {"", "0.17"}
