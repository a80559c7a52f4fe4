"""A window's lines -> Result: rows, books, loss, and what bpftrace said beside."""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmaplock_bt import renderers
from mmaplock_bt.analysis import analyse
from mmaplock_bt.errors import UsageError
from mmaplock_bt.judging.series import Series
from mmaplock_bt.result import estimates
from mmaplock_bt.result.model import Step
from mmaplock_bt.result.observe import observe
from mmaplock_bt.result.saved import from_json, to_json
from mmaplock_bt.spec import gates
from mmaplock_bt.stream.records import CgroupPaths, Followed, Spent, Trailer
from tests.builders import (
    COST,
    DIALECTS,
    JSON,
    KINDS,
    STREAM,
    STREAMS,
    analysed,
    captured,
    declared,
    head,
    map_line,
    printed,
    shown_as_table,
)


@pytest.mark.parametrize(
    ("version", "p90"), [("0.17.0", (2**31, None)), ("0.27.1", (2**32, 2**33 - 1))]
)
def test_a_templates_own_hist(version, p90):
    text = (DIALECTS / version / "hist_5s.stdout").read_text().replace("@h", "@x")
    result = analysed({"kind": "histogram", "unit": "ns"}, *text.splitlines())
    (row,) = result.histogram("x")
    assert row["count"] == 3 and row["sum"] is None and row["max"] is None
    assert sum(bucket.n for bucket in row["buckets"]) == 3
    assert row["quantiles"]["p90"] == p90
    shown = shown_as_table(result)
    assert ("p99 ≥ 2.15 s" in shown) == (version == "0.17.0") and "total -" in shown
    assert from_json(to_json(result)) == result


@pytest.mark.parametrize("mode", ["true", "1"])
def test_hist_and_stats_with_keys(mode):
    line = f'{{"type": "hist", "data": {{"@x": {{"{mode}": [{{"max": -1, "count": 2}}]}}}}}}'
    result = analysed({"kind": "histogram", "keys": ["mode"]}, line)
    (row,) = result.outputs["x"].rows
    assert row["key"] == {"mode": "write"} and row["quantiles"]["p50"] == (None, -1)
    assert "≤ -1" in shown_as_table(result)
    stats = '{"count": 2, "average": 3, "total": "7"}'
    line = f'{{"type": "stats", "data": {{"@x": {{"{mode}": {stats}}}}}}}'
    result = analysed({"kind": "table", "keys": ["mode"]}, line)
    (row,) = result.outputs["x"].rows
    assert row == {"key": {"mode": "write"}, "count": 2, "sum": 7, "max": None}


@pytest.mark.parametrize("key", ["-131386965681920", "18446612686743869696", "0xffff888116951900"])
def test_an_address_in_a_key(key):
    line = f'{{"type": "map", "data": {{"@x": {{"{key},-3": 1}}}}}}'
    custom = {"name": "n", "expression": "$n"}
    (row,) = analysed({"kind": "counter", "keys": ["mm", custom]}, line).outputs["x"].rows
    assert row["key"] == {"mm": f"0x{int(key, 0) % 2**64:016x}", "n": -3}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"type": "runtime_error", "msg": "Divide by 0"}', "runtime_error: Divide by 0"),
        ('{"type": "value", "data": [1, "a"]}', 'value: [1, "a"]'),
        ('{"type": "stats", "data": {"@av": 3}}', "@av: 3"),
        (
            '{"type": "hist", "data": {"@h": [{"min": 1, "max": 1, "count": 1}]}}',
            "@h, filled by the template, is no output of kind histogram",
        ),
        ('{"type": "map", "data": {"@x": "text"}}', "@x: text"),
        ("a warning", "not understood: a warning"),
        ('{"type": "map", "data": {"@x": {"1,2": 3}}}', "not understood: key [1,2]"),
        ('{"type": "map", "data": {"@x": {"7": 3}}}', "not understood: key [7]"),
        ('{"type": "printf", "data": "open|soon"}', "not understood: open|soon"),
        ('{"type": "printf", "data": "hello|you\\n"}', "printf: hello|you"),
        ('{"type": "printf", "data": "hello\\n"}', "printf: hello"),
        (
            '{"type": "mmaplock-bt-end", "ended',
            'not understood: {"type": "mmaplock-bt-end", "ended',
        ),
    ],
)
def test_nothing_vanishes_silently(line, said):
    result = analysed({"kind": "counter", "keys": ["mode"]}, line, line)
    assert result.messages in ([f"{said} (2 times)"], [said])
    assert (result.loss.unparsed_lines > 0) == said.startswith("not understood")
    assert f"bpftrace: {said}" in shown_as_table(result)


def test_compile_warnings_are_no_loss():
    opened = '{"type": "printf", "data": "open|5\\n"}'
    result = analysed({"kind": "counter"}, "a warning", '{"type": "value", "data": 1}', opened)
    assert result.loss.unparsed_lines == 0 and result.messages == ["value: 1"]


OUTPUTS = st.sampled_from(
    [{"kind": "histogram", "keys": ["mode"]}, {"kind": "table", "keys": ["owner_pid", "mm"]},
     {"kind": "events", "fields": ["time_ns", "mode", "comm", "kernel_stack"]}, {"kind": "counter"}]
)  # fmt: skip


@settings(max_examples=25)  # each is four streams in every format
@given(OUTPUTS, KINDS, JSON, st.sampled_from(["x", "x_sum", "x_max", "book_starts", "holding"]))
def test_no_stream_breaks_the_report(output, kind, data, name):
    entries = {"1": data, "true,5": 3, "": -1}
    buckets = [{"min": data, "count": 3}, {"max": -3, "count": 1}]
    messages = (
        {"type": kind, "data": {f"@{name}": data}},
        {"type": kind, "data": {f"@{name}": entries}},
        {"type": "printf", "data": f"x|{data}\n"},
        {"type": "hist", "data": {f"@{name}": {"1": buckets}}},
    )
    for message in messages:
        result = analysed(output, json.dumps(message))
        # GitHub is told nothing where there are no gates.
        for form in set(renderers.FORMATS) - set(renderers.OF_SPANS):
            assert renderers.named(form)(Series((result,))) or form == "github"


def test_a_flood_of_messages_is_bounded():
    lines = [f'{{"type": "value", "data": {n}}}' for n in range(1000)]
    messages = analysed({"kind": "counter"}, *lines).messages
    assert len(messages) == 21 and messages[-1] == "other messages (980 times)"


def test_no_header_is_a_sentence():
    with pytest.raises(UsageError, match="no raw stream"):
        analyse.analyse_lines(["{}"])


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_captured_streams(path):
    result = captured(path)
    assert result.loss.complete and result.books.residue == 0
    assert result.outputs["hold"].rows


def test_missed_events_are_never_complete():
    """No counter of bpftrace's knows of a probe that did not run; the books do."""
    path = min(path for path in STREAMS if "munmaps" in path.name)
    text = re.sub(
        r'("@book_acquires": )(\d+)', lambda m: m[1] + str(int(m[2]) - 1), path.read_text()
    )
    result = analyse.analyse_lines(text.split("\n"))
    assert result.books.residue == 2 and not result.loss.complete
    assert "the books do not balance" in shown_as_table(result)


def keyed_by_cgroup(*lines: str):
    output = {"kind": "histogram", "unit": "ns", "keys": ["cgroup"]}
    return analysed(output, *lines, map_line("x", {"7,64": 3, "8,64": 1, "0,64": 2}))


def test_a_cgroup_in_a_key_gets_its_path():
    told = (printed("cgroup|7"), CgroupPaths({"7": "/service"}).line(), printed("cgroup|8"))
    result = keyed_by_cgroup(*told)
    counts = {row["key"]["cgroup"]: row["count"] for row in result.histogram("x")}
    assert counts == {"/service": 3, "unknown(8)": 1, None: 2}
    assert result.loss.unparsed_lines == 0 and not result.messages
    assert "cgroup /service" in shown_as_table(result)


def test_a_cgroup_whose_path_was_not_told_keeps_its_number():
    counts = {row["key"]["cgroup"] for row in keyed_by_cgroup(printed("cgroup|7")).histogram("x")}
    assert counts == {"unknown(7)", "unknown(8)", None}


def test_a_stream_without_an_end_is_of_a_bpftrace_that_died():
    lines = STREAM.read_text().split("\n")
    cut = [line for line in lines if '"mmaplock-bt-end"' not in line]
    assert len(cut) == len(lines) - 1
    result = analyse.analyse_lines(cut)
    assert result.window.ended_by == "bpftrace_died" and not result.loss.complete


def test_the_cost_of_a_stream_is_the_results():
    result = analysed({"kind": "counter"}, Spent(COST).line())
    assert result.cost == COST and result.loss.missed_events == 0
    assert analysed({"kind": "counter"}).cost is None
    assert analysed({"kind": "counter"}).loss.missed_events is None


@pytest.mark.parametrize(
    "probe", ["tracepoint:lock:contention_begin", "rawtracepoint:contention_end"]
)
def test_missed_events_of_other_locks_are_no_loss(probe):
    """Of a map's spinlock, say, for which another CPU's program waits."""
    missed = replace(COST, probes=[replace(COST.probes[0], probe=probe, missed=3), COST.probes[1]])
    result = analysed({"kind": "counter"}, Spent(missed).line())
    assert result.loss.missed_events == 0


def test_events_that_no_program_saw_are_loss():
    """As where another tool's program runs on the CPU; until now no counter told of them."""
    whole = captured()
    missed = replace(COST, probes=[replace(COST.probes[0], missed=3), COST.probes[1]])
    lines = [*STREAM.read_text().splitlines()[:-1], Spent(missed).line()]
    result = analyse.analyse_lines([*lines, STREAM.read_text().splitlines()[-1]])
    assert whole.loss.complete and not result.loss.complete
    assert result.loss.missed_events == 3
    assert "INCOMPLETE: missed events 3" in shown_as_table(result)


STEPS = [Step(0, 1, None), Step(1000, 32, 40_000), Step(2000, 4, 40_000)]
WEIGHED = [
    *(Followed(**vars(step)).line() for step in STEPS),
    Spent(replace(COST, limit_ppm=20_000, steps=STEPS)).line(),
]


def test_what_the_script_weighed_is_an_estimate_and_is_not_scaled_again():
    """With --max-overhead a lock counts as many as it stood for when it began."""
    output = {"kind": "histogram", "unit": "ns", "keys": ["mode"]}
    lines = [map_line("x", {"0,8": 400, "0,16": 32}), map_line("x_sum", {"0": 4000}),
             map_line("x_max", {"0": 17})]  # fmt: skip
    plain, weighed = analysed(output, *lines), analysed(output, *lines, *WEIGHED)
    (exact,), (row,) = plain.histogram("x"), weighed.histogram("x")
    assert plain.profile.sample == 1 and "count_error" not in exact
    assert weighed.profile.sample == 32
    assert (row["count"], row["sum"], row["buckets"]) == (432, 4000, exact["buckets"])
    assert row["count_error"] == estimates.count_error(432, 32) and row["sum_error"] > 0
    assert row["quantiles"]["p50"].low == 8
    assert "At times only one lock in 32 was followed" in shown_as_table(weighed)


def test_events_stand_for_as_many_as_were_followed_of_when_they_began():
    """Ends at 500, 1500, 2500, 2500; the last one began 2000 ns before."""
    outputs = declared(
        x={"kind": "events", "unit": "ns", "fields": ["time_ns", "hold_ns", "mode"]},
        t={"kind": "table", "unit": "ns", "keys": ["mode"], "of": "x", "value": "hold_ns"},
    )
    told = ((500, 100), (1500, 100), (2500, 100), (2500, 2000))
    events = (printed(f"x|{7 + ended}|{lasted}|0") for ended, lasted in told)
    lines = [printed("open|7"), *WEIGHED, *events]
    result = analyse.analyse_lines([head(outputs).line(), *lines, Trailer("duration", 1).line()])
    (row,) = result.table("t")
    assert row["count"] == 1 + 32 + 4 + 1 and row["sum"] == 100 + 3200 + 400 + 2000
    assert len(result.events("x")) == 4
    reading = observe(gates.metric("x.count", outputs), result)
    assert reading.low == 4 and reading.high == 4 * 32 + estimates.count_error(4 * 32, 32)
