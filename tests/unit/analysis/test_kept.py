"""Of many events the first by rank and a sample stay; counts, tables and gates are of all."""

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmaplock_bt import renderers
from mmaplock_bt.analysis import analyse, grouping, kept, making, tally
from mmaplock_bt.analysis.kept import Kept
from mmaplock_bt.judging import verdicts
from mmaplock_bt.judging.series import Series
from mmaplock_bt.result.loss import left_out
from mmaplock_bt.result.observe import observe
from mmaplock_bt.result.saved import from_json, to_json
from mmaplock_bt.spec import gates, profile
from mmaplock_bt.stream import recording, records
from mmaplock_bt.stream.records import CgroupPaths, Decoder
from tests import story
from tests.builders import STREAMS, declared, head, printed, shown_as_table, stack_text

FIRST, SAMPLE = 20, 10
CAUSES = ("__vm_munmap+5", "dup_mmap+5", "odd+5")
OUTPUTS = declared(
    x={"kind": "events", "unit": "ns", "rank": "hold_ns",
       "fields": ["time_ns", "hold_ns", "mode", "cause", "tid", "cgroup", "kernel_stack"]},
    causes={"kind": "table", "unit": "ns", "of": "x", "value": "hold_ns", "keys": ["cause", "mode"],
            "distinct": {"threads": "tid"}, "worst": ["tid"]},
    cgroups={"kind": "table", "unit": "ns", "of": "x", "value": "hold_ns", "keys": ["cgroup"],
             "distinct": {"cgroups": "cgroup"}, "where": {"mode": "read"}},
)  # fmt: skip
EVENTS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 1), st.integers(0, 2),
                            st.integers(1, 9)), max_size=120)  # fmt: skip


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(kept, "FIRST", FIRST)
    monkeypatch.setattr(kept, "SAMPLE", SAMPLE)
    monkeypatch.setattr(making, "BATCH", 7)
    monkeypatch.setattr(records, "BATCH", 7)


def result_of(events, *told, outputs=OUTPUTS):
    """(hold_ns, mode, cause, tid) each; the cgroup is the tid."""
    lines = [
        printed(f"x|{9 + at}|{ns}|{mode}|{tid}|{tid}|{stack_text([CAUSES[cause]])}")
        for at, (ns, mode, cause, tid) in enumerate(events)
    ]
    return analyse.analyse_lines([head(outputs).line(), printed("open|5"), *lines, *told])


def many(count=500, seed=1):
    luck = random.Random(seed)
    return [(luck.randrange(10**6), luck.randrange(2), luck.randrange(3), luck.randrange(1, 9))
            for _ in range(count)]  # fmt: skip


def metric(text, outputs=OUTPUTS):
    return gates.metric(text, outputs)


@given(st.lists(st.integers(0, 50), max_size=200), st.integers(1, 40))
def test_the_first_by_rank_are_kept(ranks, size):
    found = Kept(lambda row: row[0], FIRST)
    rows = [(rank, place) for place, rank in enumerate(ranks)]
    for at in range(0, len(rows), size):
        found.add(rows[at : at + size])
    stays = found.rows()
    assert stays == sorted(stays, key=lambda row: row[1]) and found.total == len(rows)
    assert set(sorted(rows, key=lambda row: (-row[0], row[1]))[:FIRST]) <= set(stays) <= set(rows)
    assert found.is_whole == (len(rows) <= FIRST + SAMPLE)
    assert (stays == rows) if found.is_whole else FIRST <= len(stays) <= FIRST + SAMPLE


def test_the_sample_is_of_all_and_the_same_each_time():
    seen = Counter()
    for seed in range(300):
        found = Kept(lambda row: 0, FIRST)
        found._luck = random.Random(seed)
        for at in range(0, 200, 8):
            found.add([(place,) for place in range(at, at + 8)])
        seen.update(place for place, _ in found._sample)
    assert seen.total() == 300 * SAMPLE
    thirds = [sum(seen[place] for place in range(at, at + 50)) for at in range(0, 200, 50)]
    assert all(600 < n < 900 for n in thirds)  # 750 each are likely
    assert result_of(many()) == result_of(many())


@given(EVENTS)
def test_tables_are_of_all(events):
    result = result_of(events, CgroupPaths({"1": "/a", "2": "/a", "3": "/b"}).line())
    counts = Counter((CAUSES[cause], mode) for _, mode, cause, _ in events)
    assert sorted(row["count"] for row in result.table("causes")) == sorted(counts.values())
    assert sum(r["sum"] for r in result.table("causes")) == sum(ns for ns, *_ in events)
    paths = {1: "/a", 2: "/a", 3: "/b"}
    reads = [(ns, paths.get(tid, f"unknown({tid})")) for ns, mode, _, tid in events if mode == 0]
    for row in result.table("cgroups"):  # two ids are one path
        own = [ns for ns, path in reads if path == row["key"]["cgroup"]]
        assert (row["count"], row["sum"], row["max"]) == (len(own), sum(own), max(own))
        assert row["cgroups"] == 1
    assert len(result.table("cgroups")) == len({path for _, path in reads})


def test_the_worst_of_a_group_is_named_though_others_follow():
    result = result_of([(7, 0, 0, 3), (9, 0, 0, 4), (9, 0, 0, 5), *[(1, 0, 0, 6)] * 99])
    (row,) = result.table("causes")
    assert (row["max"], row["tid"], row["threads"]) == (9, 4, 4)


@given(EVENTS)
def test_metrics_of_kept_rows_hold_for_all(events):
    """Where not all are rows the reading is exact or an interval that holds the truth."""
    result = result_of(events)
    for where, chosen in (
        ("", events),
        ("{mode=read}", [e for e in events if e[1] == 0]),
        ("{mode=write,cause=munmap}", [e for e in events if e[1] == 1 and e[2] == 0]),
        ("{tid=3}", [e for e in events if e[3] == 3]),
        ("{mode=read,tid=3}", [e for e in events if e[1] == 0 and e[3] == 3]),
    ):
        counted = observe(metric(f"x{where}.count"), result)
        assert counted.low <= len(chosen) <= counted.high
        assert counted.low == counted.high or ("tid" in where and result.outputs["x"].total)
        top = observe(metric(f"x{where}.max(hold_ns)"), result)
        if chosen:
            largest = max(ns for ns, *_ in chosen)
            assert (top.low or 0) <= largest <= (top.high if top.high is not None else largest)


def test_a_gate_on_the_number_of_all_events_is_decided():
    result = result_of(many())
    for text, outcome in (("x.count == 500", "pass"), ("x.count < 500", "fail"),
                          ("x{tid=3}.count < 30", "undecided"), ("x{tid=3}.count < 501", "pass"),
                          ("x.max(hold_ns) < 1ms", "pass")):  # fmt: skip
        judged = replace(result, books=replace(result.books, starts=500, acquires=500))
        gate = gates.parse(text, OUTPUTS)
        seen = observe(gate.metric, judged)
        assert gates.decide(gate.operator, seen.low, seen.high, gate.limit) == outcome, text


def test_an_estimate_of_many_has_its_error():
    result = result_of(many())
    sampled = replace(result, profile=replace(result.profile, sample=16))
    counted = observe(metric("x.count"), sampled)
    assert counted.low < 500 * 16 == counted.figure < counted.high
    unsure = observe(metric("x{tid=3}.count"), sampled)
    assert unsure.figure is None and unsure.low < unsure.high
    assert observe(metric("x.max(hold_ns)"), sampled).high is None
    second = replace(result, window=replace(result.window, duration_ns=2 * 10**9))
    assert observe(metric("x.rate"), second).low == observe(metric("x.rate"), second).high == 250


def test_what_was_dropped_is_said():
    result = result_of(many())
    output = result.outputs["x"]
    told = f"{len(output.rows)} of 500 events kept: the first {FIRST} and a sample of the rest"
    assert output.total == 500 and left_out(output) == told
    assert sum(row["count"] for row in output.counts) == 500
    shown = shown_as_table(result)
    assert told in shown and "more (these are in -o FILE.json)" in shown
    assert told in renderers.named("markdown")(Series((result,)))
    assert from_json(to_json(result)) == result
    few = result_of(many(FIRST + SAMPLE))
    assert not left_out(few.outputs["x"]) and "kept" not in shown_as_table(few)
    assert '"total"' not in to_json(few) and '"counts"' not in to_json(few)


def test_groups_beyond_the_most_are_said(monkeypatch):
    monkeypatch.setattr(grouping, "MOST", 5)
    result = result_of(many())
    assert "more than 5 groups" in result.outputs["causes"].lacks
    assert "more than 5 groups" in shown_as_table(result)
    seen = observe(metric("causes{cause=munmap}.count"), result)
    assert not seen.is_measured
    verdict = verdicts.judge(gates.parse("causes.sum < 1h", OUTPUTS), result)
    assert verdict.outcome == "inconclusive"


def test_counts_are_bounded(monkeypatch):
    monkeypatch.setattr(tally, "CELLS", 3)
    result = result_of(many())
    keys = [row["key"] for row in result.outputs["x"].counts]
    assert sorted(key["mode"] for key in keys) == ["read", "write"] and "cause" not in keys[0]
    assert sum(row["count"] for row in result.outputs["x"].counts) == 500


def test_blame_of_a_part_says_so(monkeypatch):
    whole = story.result_of("blame")
    assert whole.outputs["charges"].lacks == whole.outputs["blame"].lacks == ""
    monkeypatch.setattr(making, "SPANS", 3)
    part = story.result_of("blame")
    told = part.outputs["totals"].lacks
    assert told.startswith("made of the longest: 3 of ") and told == part.outputs["blame"].lacks
    assert told in shown_as_table(part) and told in renderers.named("markdown")(Series((part,)))
    sums = [sum(row["sum"] for row in one.table("totals")) for one in (whole, part)]
    assert 0 < sums[1] < sums[0]
    assert part.outputs["waited"] == whole.outputs["waited"]
    assert not observe(gates.metric("blame.sum", part.declarations), part).is_measured


def test_derived_events_are_tallied(monkeypatch):
    monkeypatch.setattr(kept, "FIRST", 1000)
    whole = story.result_of("blame")
    monkeypatch.setattr(kept, "FIRST", 2)
    monkeypatch.setattr(kept, "SAMPLE", 1)
    part = story.result_of("blame")
    assert part.outputs["charges"].total == len(whole.outputs["charges"].rows) > 3
    assert len(part.outputs["charges"].rows) <= 3
    assert part.outputs["blame"] == whole.outputs["blame"]


def parsed_only(lines):
    """The result as it comes without the short way through printed lines."""
    first, rest = recording.read(lines)
    decoder = Decoder(first.outputs)
    return analyse.analyse(first, (one for line in rest for one in decoder.parsed(line)))


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_captured_streams_come_out_the_same(path):
    lines = path.read_text().split("\n")
    assert analyse.analyse_lines(lines) == parsed_only(lines)


@pytest.mark.parametrize("name", profile.names())
@pytest.mark.parametrize("flavour", ["full", "hostile", "lossy", "empty"])
def test_told_streams_come_out_the_same(name, flavour):
    lines = story.lines(name, flavour)
    assert analyse.analyse_lines(lines) == parsed_only(lines)
