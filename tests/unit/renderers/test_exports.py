"""Exports for flame graphs and timelines, read back: every sum is the result's own."""

import gzip
import json
from collections import Counter, defaultdict
from itertools import pairwise

import pytest
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace

from mmaplock_bt import renderers
from mmaplock_bt.errors import UsageError
from mmaplock_bt.judging.series import Series
from mmaplock_bt.renderers import extras, pprof, slices
from tests import story
from tests.builders import CONTROLS

STACKS = renderers.OF_SPANS[:-1]
WITHOUT_SPANS = ("hold-times", "wait-times", "fault-path")
NAMES = [name for name in story.NAMES if name not in WITHOUT_SPANS]
Sums = tuple[int, int, int]  # holds, ns held, ns that others waited


@pytest.fixture(params=NAMES)
def run(request):
    return story.result_of(request.param)


def exported(run, name):
    return renderers.rendered(Series((run,)), name)


def told(run) -> Sums:
    """From the rows themselves: holds that ended, and those open ones that had not."""
    held, waited = [], 0
    for name, data in run.outputs.items():
        names = data.keys
        if data.kind != "events" or "writer_tid" in names:
            continue
        if "charged_ns" in names:
            waited += sum(row["charged_ns"] for row in run.events(name))
        elif "hold_ns" in names:
            held += [row["hold_ns"] for row in run.events(name)]
        elif "age_ns" in names:
            held += [
                row["age_ns"]
                for row in run.events(name)
                if row["state"] != "wait" and row["ended"] != "yes"
            ]
    return len(held), sum(held), waited


def of_folded(text: str) -> int:
    return sum(int(line.rpartition(" ")[2]) for line in text.splitlines())


def of_pprof(data: bytes):
    return pprof._message_class().FromString(gzip.decompress(data))


def test_stacks_weigh_what_the_result_says(run):
    _, held_ns, victim_ns = sums = told(run)
    assert of_folded(exported(run, "folded")) == held_ns > 0
    assert of_folded(exported(run, "folded-victim")) == victim_ns
    file = json.loads(exported(run, "speedscope"))
    assert [sum(one["weights"]) for one in file["profiles"]] == [held_ns, victim_ns]
    assert [one["endValue"] for one in file["profiles"]] == [held_ns, victim_ns]
    read = of_pprof(exported(run, "pprof"))
    assert tuple(map(sum, zip(*(one.value for one in read.sample), strict=True))) == sums


def test_the_blame_is_on_the_reader():
    """In the story's blame 143 ms of the waiting are charged to somebody, 140 of them to agent."""
    text = exported(story.result_of("blame"), "folded-victim")
    by_actor: Counter[str] = Counter()
    for line in text.splitlines():
        stack, _, ns = line.rpartition(" ")
        by_actor[stack.split(";")[0]] += int(ns)
    assert by_actor["agent"] == 140 * story.MS and by_actor["victim"] == 3 * story.MS


def test_a_stack_reads_from_the_outermost_frame_in(run):
    file = json.loads(exported(run, "speedscope"))
    names = [frame["name"] for frame in file["shared"]["frames"]]
    stacks = [[names[at] for at in one] for one in file["profiles"][0]["samples"]]
    smaps = [one for one in stacks if one[-1].startswith("smap_gather_stats")]
    assert all("vfs_read+190" in one[:-1] for one in smaps) and (smaps or "agent" not in names)


def test_labels_tell_actor_owner_cause_and_mode():
    read = of_pprof(exported(story.result_of("blame"), "pprof"))
    text = list(read.string_table)
    first = {text[one.key]: text[one.str] for one in read.sample[0].label}
    assert first == {
        "actor": "agent", "owner": "victim", "cause": "smaps/maps/numa_maps", "mode": "read",
    }  # fmt: skip
    assert [text[one.type] for one in read.sample_type] == ["holds", "hold", "victim"]
    assert text[read.default_sample_type] == "victim" and text[0] == ""


def of_perfetto(data: bytes):
    """(tracks by number, [(track, begin, end or None, event)]); begin and end alternate."""
    library = extras.perfetto()
    tracks, found, begun = {}, [], {}
    kinds = library.TrackEvent
    for packet in Trace.FromString(data).packet:
        if packet.HasField("track_descriptor"):
            assert packet.track_descriptor.uuid not in tracks
            tracks[packet.track_descriptor.uuid] = packet.track_descriptor
            continue
        event = packet.track_event
        assert event.track_uuid in tracks
        if event.type == kinds.TYPE_SLICE_BEGIN:
            assert event.track_uuid not in begun, "two at once on one track"
            begun[event.track_uuid] = (packet.timestamp, event)
        elif event.type == kinds.TYPE_SLICE_END:
            since, began = begun.pop(event.track_uuid)
            found.append((event.track_uuid, since, packet.timestamp, began))
    found += [(track, since, None, event) for track, (since, event) in begun.items()]
    return tracks, found


def test_a_timeline_has_every_span_of_the_result(run):
    tracks, found = of_perfetto(exported(run, "perfetto"))
    holds = [one for one in found if tracks[one[0]].name == "holds"]
    count, held_ns, _ = told(run)
    assert len(holds) == count
    ended = sum(end - begin for _, begin, end, _ in holds if end is not None)
    opened = [one for name in run.outputs for one in _open_holds(run, name)]
    assert ended + sum(opened) == held_ns
    assert sum(end is None for _, _, end, _ in holds) == len(opened)


def _open_holds(run, name):
    data = run.outputs[name]
    if data.kind != "events" or "age_ns" not in data.keys:
        return []
    rows = [row for row in run.events(name) if row["ended"] != "yes"]
    return [row["age_ns"] for row in rows if row["state"] != "wait"]


def test_a_slice_tells_what_kept_the_holder():
    result = story.result_of("stuck-locks")
    kept = {"reason": "page faults under way", "faulting_tid": 812, "faulting_comm": "postgres",
            "faulting_stack": ["clear_page+7", "do_fault+1"]}  # fmt: skip
    for row in result.events("stuck"):
        row.update(kept)
    _, found = of_perfetto(exported(result, "perfetto"))
    notes = [
        {note.name: note.string_value or note.int_value for note in event.debug_annotations}
        for *_, event in found
    ]
    told = kept | {"faulting_stack": "clear_page+7\ndo_fault+1"}
    assert any(told.items() <= one.items() for one in notes)


def test_a_flow_leads_from_the_hold_to_whoever_waited():
    tracks, found = of_perfetto(exported(story.result_of("blame"), "perfetto"))
    flows = defaultdict(list)
    for _, begin, end, event in found:
        for number in event.flow_ids:
            flows[number].insert(0, (begin, end, event.name))
        for number in event.terminating_flow_ids:
            flows[number].append((begin, end, event.name))
    assert all(len(ends) == 2 for ends in flows.values())
    pairs = {(hold[2], wait[2]) for hold, wait in flows.values()}
    assert ("read hold agent[20]", "write wait victim[11]") in pairs
    assert all(hold[0] < (wait[1] or 2**63) for hold, wait in flows.values())
    spaces = {one.uuid: one.name for one in tracks.values() if not one.parent_uuid}
    assert any(name.startswith("victim[10] ") for name in spaces.values())


def test_lanes_never_overlap_and_are_few(run):
    spans = slices.of(run)
    for lane in slices.lanes(spans):
        for one, after in pairwise(lane):
            assert one.ended_ns is not None and one.ended_ns <= after.began_ns


@pytest.mark.parametrize("name", [*STACKS, "perfetto"])
@pytest.mark.parametrize("flavour", story.FLAVOURS)
def test_whatever_it_is_about(name, flavour):
    """Nothing hostile gets in, and what is missing is said where the format has room for words."""
    data = exported(story.result_of("blame", flavour), name)
    text = gzip.decompress(data) if name == "pprof" else data
    text = text if isinstance(text, bytes) else text.encode()
    if name not in renderers.BINARY:
        assert not any(one in data for one in CONTROLS if one != "\n")
    assert b"\x1b[31m" not in text and f"\n{story.FORGED}".encode() not in text
    if flavour == "lossy" and not name.startswith("folded"):
        assert b"Some events of this window are missing" in text


@pytest.mark.parametrize("name", [*STACKS, "perfetto"])
@pytest.mark.parametrize("profile", WITHOUT_SPANS)
def test_a_profile_without_stacks_is_told_which_has_them(name, profile):
    with pytest.raises(UsageError, match=f"{profile} keeps no .*long-holds"):
        exported(story.result_of(profile), name)


def test_runs_follow_each_other():
    run = story.result_of("long-holds")
    once, twice = Series((run,)), Series((run, run))
    one, two = (of_folded(renderers.rendered(many, "folded")) for many in (once, twice))
    assert two == 2 * one
    assert renderers.rendered(once, "pprof") == renderers.rendered(once, "pprof")


def test_what_was_not_kept_is_taken_from_a_table_or_told():
    """long-holds has a table by stack of all its events; convoys has none."""
    for profile, output, ratio in (("long-holds", "long_holds", 1), ("convoys", "holds", 0)):
        run = story.result_of(profile)
        rows = run.events(output)
        whole = of_folded(exported(run, "folded"))
        data = run.outputs[output]
        object.__setattr__(data, "total", len(rows))
        object.__setattr__(data, "rows", rows[:3])
        text = json.loads(exported(run, "speedscope"))
        part = sum(text["profiles"][0]["weights"])
        if ratio:
            assert part == whole and "only" not in text["name"]
        else:
            assert part < whole
            assert f"Of the output {output} only 3 of {len(rows)} events were kept" in text["name"]


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("x.folded", "folded"), ("x.victim.folded", "folded-victim"),
        ("x.speedscope.json", "speedscope"), ("x.pb.gz", "pprof"), ("x.pftrace", "perfetto"),
        ("x.perfetto-trace", "perfetto"), ("json:x.chrome.json", "json"),
        ("linux-6.18.json", "json"), ("base.2026.json", "json"),
    ],
)  # fmt: skip
def test_the_suffix_chooses(written, found):
    assert renderers.for_file(written)[0] == found


@pytest.mark.parametrize("written", ["x.chrome.json", "x.pprof.json", "x.collapsed.txt"])
def test_an_unknown_compound_suffix_is_a_question(written):
    with pytest.raises(UsageError, match="is no format"):
        renderers.for_file(written)
