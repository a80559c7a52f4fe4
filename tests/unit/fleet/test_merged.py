"""Many hosts' windows together: counts add up, and no quantile is a mean of others."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmaplock_bt import command_line
from mmaplock_bt.fleet import merged as module
from mmaplock_bt.fleet.merged import RANKS, Fleet, Histogram
from mmaplock_bt.result.buckets import quantile
from mmaplock_bt.spec.gates import QUANTILES
from tests.builders import HOSTILE, bucketed
from tests.unit.fleet.fleets import FLEET, SECOND, merged, window


def histogram(fleet: Fleet, output: str, mode: str) -> Histogram:
    return next(one for one in fleet.histograms if (one.output, one.mode) == (output, mode))


def test_hosts():
    web1, web2, db1 = merged().hosts
    assert [host.name for host in (web1, web2, db1)] == ["web1", "web2", "db1"]
    assert (web1.windows, web1.duration_ns, web1.watched_ns) == (2, 3 * SECOND, SECOND)
    assert web1.waited_ns == 1_000_003 + 11 + 13 + 1_000_000, "not what met nobody"
    assert (web1.longest_wait_ns, web1.longest_hold_ns) == (2_000_003, 7_919)
    assert (web1.incomplete, web1.lost["lost_events"], web1.lost["map_full"]) == (1, 23, 5)
    assert len(web1.missing) == 1 and "lost events 23" in web1.missing[0]
    assert (web2.waited_ns, web2.longest_wait_ns, web2.incomplete) == (503, 503, 0)
    assert (db1.waited_ns, db1.watched_ns, db1.waited_share) == (None, None, -1)
    assert (db1.longest_wait_ns, db1.longest_hold_ns) == (19, 15_485_863)


@pytest.mark.parametrize(
    ("rank", "first"), [("waited", "web1"), ("wait", "web1"), ("hold", "db1"), ("lost", "db1")]
)
def test_ranks(rank, first):
    assert merged(rank=rank).hosts[0].name == first


def test_the_parser_knows_every_rank():
    assert set(command_line.RANKS) == set(RANKS)


def test_a_longer_watch_is_no_worse_host():
    calm = [window(charges={("a", "b", "c"): [600]}, second=n) for n in range(2)]
    ill = [window(charges={("a", "b", "c"): [700]})]
    assert [host.name for host in merged({"calm": calm, "ill": ill}).hosts] == ["ill", "calm"]


def test_histograms_of_all_hosts_and_of_each():
    fleet = merged()
    read = histogram(fleet, "hold", "read")
    assert (read.hosts, read.windows, read.row["count"]) == (2, 3, 97 + 2 + 5)
    assert read.row["sum"] == 97 * 1_009 + 2 * 1_013 + 5 * 104_729
    assert read.row["max"] == 104_729
    assert histogram(fleet, "wait", "write").row["sum"] == 2_000_003 + 101 + 503
    web1 = next(host for host in fleet.hosts if host.name == "web1")
    of_web1 = {(one.output, one.mode): one for one in web1.histograms}
    assert of_web1["hold", "read"].row["count"] == 99
    assert of_web1["hold", "write"].row["max"] == 7_919


def test_the_p99_of_all_is_not_the_mean_of_each_hosts():
    """One slow hold of a quiet host is not half of what a busy host's thousand are."""
    busy, quiet = [1_000] * 10_000, [50_000_000]
    fleet = merged(
        {"busy": [window(hold={"write": busy})], "quiet": [window(hold={"write": quiet})]}
    )
    low, high = histogram(fleet, "hold", "write").row["quantiles"]["p99"]
    assert low <= 1_000 <= high
    of_each = [host.histograms[0].row["quantiles"]["p99"] for host in fleet.hosts]
    mean = sum(end.high for end in of_each) / 2
    assert mean > 20 * high


TIMES = st.lists(st.integers(0, 2**40), min_size=1, max_size=40)


@settings(max_examples=20)
@given(st.dictionaries(st.sampled_from("abc"), st.lists(TIMES, min_size=1, max_size=3), min_size=1))
def test_quantiles_are_those_of_all_values(hosts):
    fleet = merged(
        {
            name: [window(hold={"read": ns}, second=n) for n, ns in enumerate(each)]
            for name, each in hosts.items()
        }
    )
    values = sorted(ns for each in hosts.values() for one in each for ns in one)
    row = histogram(fleet, "hold", "read").row
    assert (row["count"], row["sum"], row["max"]) == (len(values), sum(values), values[-1])
    for name, (over, under) in QUANTILES.items():
        pooled = quantile(bucketed(values), len(values), values[-1], over, under)
        assert row["quantiles"][name] == pooled
        assert pooled.low <= values[math.ceil(len(values) * over / under) - 1] <= pooled.high


def test_other_locks_are_another_histogram():
    fleet = merged(
        {"a": [window(hold={"read": [3]}), window(hold={"read": [5]}, second=5, locks="contended")]}
    )
    assert sorted((one.locks, one.row["count"]) for one in fleet.histograms) == [
        ("all", 1),
        ("contended", 1),
    ]


def test_who_waited_for_whom():
    fleet = merged()
    told = {(one.victim, one.culprit, one.cause): one for one in fleet.pairs}
    smaps = told["mysqld", "agent", "smaps"]
    assert (smaps.hosts, smaps.count, smaps.sum_ns) == (2, 3, 1_000_003 + 11 + 499)
    assert smaps.longest_ns == 1_000_003
    assert told["mysqld", None, "waited for a CPU"].sum_ns == 1_000_000
    assert not [key for key in told if key[2] in ("met nobody", "charged")]
    assert fleet.pairs[0] == smaps
    why = {(one.cause, one.charged): one for one in fleet.causes}
    assert why["smaps", True].sum_ns == 1_000_003 + 11 + 499 + 4
    assert (why["waited for a CPU", False].hosts, why["munmap", True].sum_ns) == (1, 13)
    assert sum(one.sum_ns for one in fleet.causes) == sum(
        host.waited_ns or 0 for host in fleet.hosts
    )


def test_windows_that_overlap_are_told():
    both = [window(charges={}, seconds=5), window(charges={}, second=4)]
    one_after_the_other = [window(charges={}, seconds=5), window(charges={}, second=5)]
    assert not merged({"a": one_after_the_other}).notes
    (note,) = merged({"a": both, "b": one_after_the_other}).notes
    assert note.startswith("a: 1 window began before another one's end")


def test_ways_of_asking_are_told():
    one, other = window(charges={}), window(charges={}, locks="contended")
    (note,) = merged({"a": [one], "b": [other]}).notes
    assert "asked for in 2 ways: p, all locks (1 window); p, contended locks (1 window)" in note


def test_hostile_names_are_names():
    fleet = merged({HOSTILE: [window(charges={(HOSTILE, "\ud800\0", "';--"): [5]})]})
    assert fleet.hosts[0].name == HOSTILE
    assert fleet.pairs[0].victim == HOSTILE and fleet.pairs[0].cause == "';--"


def test_starts_beyond_every_clock():
    """Two windows at each end of the calendar."""
    base = window(charges={}, seconds=5)
    starts = ("0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59+00:00")
    far = [replace(base, window=replace(base.window, start=start)) for start in starts * 2]
    (note,) = merged({"a": far}).notes
    assert note.startswith("a: 2 windows began")


def test_the_first_pairs_are_told_and_the_rest_noted(monkeypatch):
    monkeypatch.setattr(module, "PAIRS", 2)
    fleet = merged()
    assert len(fleet.pairs) == 2 and fleet.pairs[0].cause == "smaps"
    assert fleet.notes == ("of who waited for whom the first 2 are told; other sums are of all",)


def test_the_order_of_files_changes_nothing():
    backwards = {host: list(reversed(each)) for host, each in reversed(FLEET.items())}
    assert merged(backwards) == merged()
