import json
import re
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmaplock_bt import renderers
from mmaplock_bt.analysis import analyse, blame, rows
from mmaplock_bt.errors import UsageError
from mmaplock_bt.judging.series import Series
from mmaplock_bt.result.model import (
    Books,
    Loss,
    OutputData,
    ProfileInfo,
    Result,
    TargetInfo,
    Tool,
    Verdict,
    Window,
    from_json,
    to_json,
)
from mmaplock_bt.spec.declaration import Output
from mmaplock_bt.stream import collect, identities, stacks
from tests.conftest import shown_as_table
from tests.test_events import JSON, KINDS

HOSTILE = 'a",b\n\x1b[31m[bold]'


def bucketed(values: list[int]) -> list[list[int]]:
    """What the script's bucket arithmetic yields for these values."""
    counts: dict[int, int] = {}
    for value in values:
        shift = max(0, value.bit_length() - 1 - 3)
        low = value >> shift << shift
        counts[low] = counts.get(low, 0) + 1
    return [[low, rows.upper(low), n] for low, n in sorted(counts.items())]


@given(st.lists(st.integers(0, 2**50), min_size=1), st.sampled_from(list(rows.QUANTILES)))
def test_a_quantile_interval_holds_the_true_quantile(values, name):
    numerator, denominator = rows.QUANTILES[name]
    low, high = rows.quantile(bucketed(values), len(values), max(values), numerator, denominator)
    rank = -(-len(values) * numerator // denominator)
    assert low <= sorted(values)[max(0, rank - 1)] <= high
    assert Fraction(high - low) <= Fraction(max(low, 1), 8)


def test_names_are_exact():
    assert identities.text("\\x61\\x22\\x2c\\x0a\\x1b\\x00\\x41") == 'a",\n\x1b'
    assert identities.text("\\xff\\x41\\x00") == "\\xffA"


def test_the_tracers_own_frames_are_dropped():
    text = "\n    bpf_prog_1234+1\n        __mmap_lock_do_trace_released+75\n    __vm_munmap+175\n"
    assert stacks.frames(text) == ["__vm_munmap+175"]


def analysed(output: dict[str, object], *lines: str) -> Result:
    """The result of one declared output "x" and these lines of bpftrace's."""
    head = collect.Head(
        ProfileInfo("p", "p", {}, {}, "0"), TargetInfo("6", "x", 1, "0", {}), Tool("t", "0"),
        "2026-01-01T00:00:00+00:00", None, {"x": Output.model_validate({"title": "X"} | output)}, 1,
    )  # fmt: skip
    return analyse.analyse([head.line(), *lines, collect.trailer("duration", 1, None)])


DIALECTS = Path(__file__).parent / "data/dialects"


@pytest.mark.parametrize(
    ("version", "p90"), [("0.17.0", [2**31, None]), ("0.27.1", [2**32, 2**33 - 1])]
)
def test_a_templates_own_hist(version, p90):
    text = (DIALECTS / version / "hist_5s.stdout").read_text().replace("@h", "@x")
    result = analysed({"kind": "histogram", "unit": "ns"}, *text.splitlines())
    (row,) = result.outputs["x"].rows
    assert row["count"] == 3 and row["sum"] is None and row["max"] is None
    assert sum(bucket[2] for bucket in row["buckets"]) == 3
    assert row["quantiles"]["p90"] == p90
    shown = shown_as_table(result)
    assert ("p99 ≥ 2.15 s" in shown) == (version == "0.17.0") and "total -" in shown
    assert from_json(to_json(result)) == result


@pytest.mark.parametrize("mode", ["true", "1"])
def test_hist_and_stats_with_keys(mode):
    line = f'{{"type": "hist", "data": {{"@x": {{"{mode}": [{{"max": -1, "count": 2}}]}}}}}}'
    result = analysed({"kind": "histogram", "keys": ["mode"]}, line)
    (row,) = result.outputs["x"].rows
    assert row["key"] == {"mode": "write"} and row["quantiles"]["p50"] == [None, -1]
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
        for form in renderers.FORMATS:  # GitHub is told nothing where there are no gates
            assert renderers.named(form)(Series((result,))) or form == "github"


def test_a_flood_of_messages_is_bounded():
    lines = [f'{{"type": "value", "data": {n}}}' for n in range(1000)]
    messages = analysed({"kind": "counter"}, *lines).messages
    assert len(messages) == 21 and messages[-1] == "other messages (980 times)"


def wait(**more):
    return {"mm": "1", "tid": 1, "time_ns": 100, "wait_ns": 50, "overtakes": 0,
            "writers_before": 0, "write_hold_ns": 0} | more  # fmt: skip


def hold(end, ns, mode="read", tid=2):
    return {"mm": "1", "tid": tid, "pid": tid, "comm": "x", "mode": mode, "time_ns": end,
            "hold_ns": ns, "kernel_stack": []}  # fmt: skip


@pytest.mark.parametrize(
    ("row", "holds", "label"),
    [
        (wait(), [hold(95, 60)], "one long hold"),
        (wait(writers_before=7, write_hold_ns=40), [hold(60, 8, "write")], "a queue of writers"),
        (wait(overtakes=9), [hold(60, 9), hold(70, 9)], "starved by overtaking readers"),
        (wait(), [], "unexplained"),
        (wait(), [hold(300, 5), hold(49, 40), hold(95, 60, tid=1)], "unexplained"),
    ],
)
def test_blame(row, holds, label):
    blame.join([row], holds)
    assert row["label"] == label


def made(outputs: dict[str, OutputData]) -> Result:
    return Result(
        1,
        Tool("mmaplock-bt", "0"),
        ProfileInfo("p", "p", {}, {}, "0"),
        TargetInfo(HOSTILE, "x", 1, HOSTILE, {}),
        Window("2026-01-01T00:00:00+00:00", 1, "duration", None),
        outputs,
        Books(*[0] * 9),
        Loss(0, 0, 0, 0, 1, 1, True),
    )


ROW = {"time_ns": 1, "hold_ns": 2, "mode": "read", "tid": 1, "pid": 1, "comm": HOSTILE,
       "owner_pid": None, "owner_comm": None, "owner_kind": "teardown", "mm": "0x1",
       "kernel_stack": [HOSTILE * 30], "user_stack": [HOSTILE]}  # fmt: skip
KEY = {"mode": "read", "owner_pid": 1, "owner_comm": HOSTILE}
HIST = {"key": KEY, "count": 2, "sum": 3, "max": 2, "buckets": [[0, 0, 1], [2, 2, 1]],
        "quantiles": {q: [2, 2] for q in rows.QUANTILES}}  # fmt: skip
SPAN = ROW | {"age_ns": 5, "state": "hold begun before the window", "ended": "no",
              "cause": HOSTILE, "cgroup": HOSTILE * 9, "actor_kind": "kernel",
              "current_stack": [HOSTILE], "kernel_stack": None}  # fmt: skip
WAIT = {"mode": "read", "tid": 1, "pid": 1, "comm": HOSTILE, "wait_ns": 3}
CONVOY = ROW | {"writer_tid": 1, "writer_pid": 1, "writer_comm": HOSTILE, "writer_wait_ns": 4,
                "readers": 2, "queued": [WAIT]}  # fmt: skip
BEHIND = ROW | {"wait_ns": 9, "label": "one long hold",
                "behind": [ROW | {"overlap_ns": 3, "cause": HOSTILE}]}  # fmt: skip
BLAMED = {"key": {"pid": None, "comm": None, "cause": HOSTILE, "kernel_stack": [HOSTILE]},
          "count": 1, "sum": 5, "max": 5, "victims": 2, "read_ns": 5, "cgroup": None,
          "period_ns": 30, "period_error_ns": 1}  # fmt: skip
SHARE = {"key": {"mode": "read", "cgroup": HOSTILE * 9}, "count": 1, "sum": None, "max": None,
         "count_permille": 3, "sum_permille": None}  # fmt: skip
FULL = {
    "e": OutputData("events", "E", "ns", list(ROW), [ROW] * 12),
    "t": OutputData("table", "T", "ns", list(KEY), [{"key": KEY, "count": 1, "sum": 1, "max": 1}]),
    "c": OutputData("counter", "C", "count", [], [{"key": {}, "count": 1}]),
    "s": OutputData("events", "S", "ns", list(SPAN), [SPAN, CONVOY, BEHIND]),
    "n": OutputData("events", "N", "", ["run", "why"], [{"run": "blame", "why": HOSTILE}]),
    "b": OutputData("table", "B", "ns", list(BLAMED["key"]), [BLAMED]),
    "p": OutputData("table", "P", "ns", list(SHARE["key"]), [SHARE]),
    "h": OutputData("histogram", "H", "ns", list(KEY), [HIST]),
}
SAID = tuple(
    Verdict(f"x{{comm={HOSTILE}}}.max < 5ms", level, outcome, [1, None], "<", 5_000_000, "ns", 3, 1,
            HOSTILE, HOSTILE, 7, 3)
    for level in ("warn", "error")
    for outcome in ("pass", "fail", "undecided", "inconclusive")
)  # fmt: skip
EMPTY = {name: OutputData(o.kind, o.title, o.unit, o.keys, []) for name, o in FULL.items()}


@pytest.mark.parametrize("name", renderers.FORMATS)
@pytest.mark.parametrize("outputs", [{}, EMPTY, FULL], ids=["none", "empty", "hostile"])
@pytest.mark.parametrize("verdicts", [(), SAID], ids=["no gates", "gates"])
def test_every_renderer_over_every_result(name, outputs, verdicts):
    text = renderers.named(name)(Series((made(outputs),), verdicts))
    assert "\x1b" not in text
    assert text.endswith("\n") or not text


def test_a_result_reads_back():
    assert from_json(to_json(made(FULL))) == made(FULL)


def test_no_header_is_a_sentence():
    with pytest.raises(UsageError, match="no raw stream"):
        analyse.analyse(["{}"])


@pytest.mark.parametrize("path", sorted(Path(__file__).parent.glob("data/*.ndjson")), ids=str)
def test_captured_streams(path):
    result = analyse.analyse(path.read_text().split("\n"))
    assert result.loss.complete and result.books.residue == 0
    assert result.outputs["hold"].rows


def test_missed_events_are_never_complete():
    """No counter of bpftrace's knows of a probe that did not run; the books do."""
    path = min(Path(__file__).parent.glob("data/*munmaps.ndjson"))
    text = re.sub(
        r'("@book_acquires": )(\d+)', lambda m: m[1] + str(int(m[2]) - 1), path.read_text()
    )
    result = analyse.analyse(text.split("\n"))
    assert result.books.residue == 2 and not result.loss.complete
    assert "the books do not balance" in shown_as_table(result)
