"""The bpftraces between those that can be had: what is rendered for them, and what they print."""

import re
from dataclasses import replace

import pytest

from mmaplock_bt.machine import features
from mmaplock_bt.machine.inventory import Machine
from mmaplock_bt.script import render
from mmaplock_bt.spec import profile
from mmaplock_bt.stream import bpftrace_json
from mmaplock_bt.stream.bpftrace_json import HistDump, MapDump, Unparsed
from mmaplock_bt.tracing.bpftrace import Tracer
from tests import between
from tests.builders import DATA, DIALECTS
from tests.unit.script.test_render import CONTENDED, FIXED

PROGRAMS = {"trixie": "0.23.2", "sid": "0.27.1"}  # the versions of those that stand for them


def machine(release: str, like: Machine = FIXED) -> Machine:
    return replace(
        like,
        bpftrace=between.RELEASES[release].version,
        facts={**like.facts, **between.facts(release)},
    )


@pytest.mark.parametrize("like", [FIXED, CONTENDED], ids=["all", "contended"])
@pytest.mark.parametrize("by_hand", [False, True], ids=["for the tool", "by hand"])
@pytest.mark.parametrize("release", between.TRACING)
def test_no_script_has_what_its_release_refuses(release, by_hand, like):
    for name in profile.names():
        for tree in (False, not by_hand):
            made = render.render(
                profile.load(name), machine(release, like), by_hand=by_hand, tree=tree
            )
            assert between.refused(release, made.text) is None, name


@pytest.mark.parametrize("release", between.TRACING)
def test_they_are_given_the_script_of_the_newest(release):
    """So the snapshots of `raw` are theirs. Only how failed map updates are asked for differs."""
    facts = {**FIXED.facts, "raw_tracepoint": True, "config_block": True, "ustack_raw": True}
    newest = replace(FIXED, bpftrace="0.27.1", facts=facts)
    for name in profile.names():
        chosen = profile.load(name)
        ours, theirs = (render.render(chosen, m).text for m in (machine(release), newest))
        assert between.plain(ours) == between.plain(theirs)
    script = render.render(profile.load("overview"), machine(release))
    words = Tracer(script, machine(release)).order.words
    assert ("-k" in words) == (between.number(release) < (0, 23))


@pytest.mark.parametrize("release", between.RELEASES)
def test_the_trials_tell_what_a_release_takes(release):
    """The table of facts, and that of what is refused, say the same."""
    for name, fact in between.facts(release).items():
        trial = features.TRIALS[name]
        # hist() of a big number is taken by all, and printed wrong up to 0.19.
        if trial.program and not trial.shows and release != "0.14":
            assert (between.refused(release, trial.program) is None) == fact, name
    if release == "0.14":
        assert all(
            between.refused(release, t.program) for t in features.TRIALS.values() if t.program
        )


@pytest.mark.parametrize(
    ("script", "releases"),
    [
        ("BEGIN { exit(); }", {"0.14"}),
        ('BEGIN { printf("%s", "config = { for (has_key(") }', {"0.14"}),
        ("interval:s:1 { @x = args.write; }", {"0.14"}),
        ("config = { a = 1; } interval:s:1 { exit(); }", {"0.14", "0.20"}),
        ("interval:s:1 { for ($kv : @x) { print($kv.0); } }", {"0.14", "0.20"}),
        ("interval:s:1 { print(@x[1]); }", {"0.14", "0.20"}),
        ("interval:s:1 { let $x = 1; }", {"0.14", "0.20", "0.21"}),
        ("interval:s:1 { if (has_key(@x, 1)) { exit(); } }", {"0.14", "0.20", "0.21"}),
        ("interval:s:1 { delete(@x, 1); }", {"0.14", "0.20", "0.21"}),
        ("interval:s:1 { delete(@x[1, 2]); }", set()),
        ("interval:s:1 { @x[(1, 2)] = (uint64)1; }", {"0.14", "0.20", "0.21"}),
        ("interval:s:1 { @x[(uint64)pid, 2] = (uint64)1; }", set()),
        ("interval:s:1 { exit(1); }", {"0.14", "0.20", "0.21"}),
        ("begin { exit(); }", {"0.14", "0.20", "0.21", "0.22"}),
        ("let @x = hash(3); interval:s:1 { exit(); }", {"0.14", "0.20", "0.21", "0.22", "0.24"}),
        ("interval:s:1 { @a = 1; @a = (uint64)2; }", {"0.24", "0.25"}),
        ("interval:s:1 { @a[1] = (uint64)1; @a[2] = $x; }", set()),
        ('interval:s:1 { printf("%s", $x ? "write" : "read"); }', {"0.24"}),
        ('interval:s:1 { printf("%s", $x ? "write" : "read "); }', set()),
        ("interval:s:1 { @h[pid] = hist(3); }", {"0.25"}),
        ("interval:s:1 { @h[(uint64)pid] = hist(3); }", set()),
        ("interval:s:1 { @x[args->write] = (uint64)1; }", {"0.25", "0.26"}),
        ("interval:s:1 { @x[(uint64)args->write] = (uint64)1; }", set()),
        ("interval:s:1 { for ($kv : @x) { exit(); } }", {"0.14", "0.20", "0.25", "0.26"}),
    ],
)  # fmt: skip
def test_a_release_refuses_what_it_does_not_know(script, releases):
    assert {name for name in between.RELEASES if between.refused(name, script)} == releases


@pytest.mark.parametrize("release", between.TRACING)
def test_its_dialect_is_read_as_that_of_the_next(release):
    version = PROGRAMS[between.RELEASES[release].suite]
    streams = [*(DIALECTS / version).glob("*.stdout"), *DATA.glob(f"bpftrace-{version}_*.ndjson")]
    assert len(streams) > 20
    for path in streams:
        lines = path.read_bytes().decode("utf-8", "surrogateescape").split("\n")
        assert read(between.printed(release, lines)) == read(lines), path


def test_the_dialects_differ():
    """Else the test above proves nothing."""
    text = (DIALECTS / "0.23.2/comm_evil.stdout").read_text(errors="surrogateescape")
    assert r'"we\"ird\n\uffffffff"' in "\n".join(between.printed("0.21", text.split("\n")))
    assert "\n".join(between.printed("0.22", text.split("\n"))) == text
    text = (DIALECTS / "0.27.1/map_bool.stdout").read_text()
    told = "\n".join(between.printed("0.24", text.split("\n")))
    assert "true" in text and "true" not in told and "WARNING" in told


def read(lines):
    """The records but what a dialect adds, their keys in one dress."""
    return [
        _undressed(one) for one in bpftrace_json.parse(lines)
        if not isinstance(one, Unparsed) and getattr(one, "name", "") != between.UNWRITTEN
    ]  # fmt: skip


def _undressed(record):
    if not isinstance(record, MapDump | HistDump):
        return record
    bools = {"true": "1", "false": "0"}
    return record.name, [
        (re.sub(r"\n +|\b(?:true|false)\b", lambda m: bools.get(m[0], "\n"), key), value)
        for key, value in record.entries
    ]
