"""Result files: written and read back equal; what is wrong with one is a sentence."""

import json
import re
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmaplock_bt import renderers
from mmaplock_bt.cli import main
from mmaplock_bt.commands import schemas
from mmaplock_bt.errors import UsageError
from mmaplock_bt.judging import measures, series, verdicts
from mmaplock_bt.judging.series import Series
from mmaplock_bt.result.model import Command
from mmaplock_bt.result.rows import Bucket, Interval
from mmaplock_bt.result.saved import from_json, to_json
from mmaplock_bt.spec import gates
from mmaplock_bt.spec.outputs import Events
from tests import story
from tests.builders import COST, EMPTY, FULL, JSON, SAID, STREAMS, captured, made, shown_as_table

FULL_RESULT = replace(made(FULL), verdicts=list(SAID), messages=["printf: x"], cost=COST)
DROP = object()
# What schema 1 kept: no declarations, and every output in one shape.
BOOKS_1 = {"starts": 5, "acquires": 5, "failed": 0, "releases": 5, "downgrades": 0,
           "open_holds": 0, "open_waits": 0, "orphan_releases": 0, "residue": 0}  # fmt: skip
OWNER_1 = {"mode": "write", "owner_pid": 7, "owner_comm": "mysqld", "cgroup": "/service"}
BLAMED_1 = {"pid": 3, "comm": "agent", "cause": "mmap", "kernel_stack": ["f+1"]}
OUTPUTS_1 = {
    "hold": {
        "kind": "histogram", "title": "Holds", "unit": "ns", "keys": ["mode"], "hidden": False,
        "rows": [{"key": {"mode": "write"}, "count": 2, "sum": 148, "max": 100,
                  "buckets": [[48, 51, 1], [96, 103, 1]],
                  "quantiles": {"p50": [48, 51], "p90": [96, 100], "p99": [96, 100],
                                "p99.9": [96, 100]}}],
    },
    "owners": {
        "kind": "table", "title": "Owners", "unit": "ns", "keys": ["mode", "owner_pid"],
        "hidden": False, "rows": [{"key": OWNER_1, "count": 2, "sum": 148, "max": 100}],
    },
    "shares": {
        "kind": "table", "title": "Shares", "unit": "ns", "keys": ["mode"], "hidden": False,
        "rows": [{"key": {"mode": "write"}, "count": 1, "sum": 9, "max": 9,
                  "count_permille": 111, "sum_permille": None}],
    },
    "blame": {
        "kind": "table", "title": "Blame", "unit": "ns", "keys": list(BLAMED_1), "hidden": False,
        "rows": [{"key": BLAMED_1, "count": 3, "sum": 5_000_000, "max": 4_000_000,
                  "read_ns": 1_000_000, "write_ns": 4_000_000, "victims": 2, "cgroup": "/service",
                  "period_ns": 30_000_000, "period_error_ns": 1_000_000}],
    },
    "calls": {
        "kind": "counter", "title": "Calls", "unit": "count", "keys": [], "hidden": False,
        "rows": [{"key": {}, "count": 5}],
    },
    "starved": {
        "kind": "events", "title": "Starved", "unit": "ns", "hidden": False,
        "keys": ["time_ns", "wait_ns", "tid", "overtakes", "write_hold_ns", "label", "behind"],
        "rows": [{"time_ns": 9, "wait_ns": 8_000_000, "tid": 3, "overtakes": 7,
                  "write_hold_ns": 6_000_000, "label": "one long hold", "behind": []}],
    },
}  # fmt: skip
# Tables that were made of events, as some profiles have them: keyed by a text, nothing besides.
CAUSES_1 = {
    "kind": "table", "title": "Causes", "unit": "ns", "keys": ["cause"], "hidden": False,
    "rows": [{"key": {"cause": "mmap"}, "count": 1, "sum": 5, "max": 5}],
}  # fmt: skip


def of_schema_1(**more: Any) -> str:
    plain = {
        "schema": 1,
        "tool": {"name": "mmaplock-bt", "version": "0.1"},
        "profile": {"name": "p", "template": "p", "params": {}, "filter": {}, "sha256": "0"},
        "target": {"kernel": "6.18", "arch": "x", "cpus": 2, "bpftrace": "0.17.0", "facts": {}},
        "window": {"start": "2026-01-01T00:00:00+00:00", "duration_ns": 2 * 10**9,
                   "ended_by": "command", "command": {"argv": ["./work"], "status": 0},
                   "cpu_wait_ns": None},
        "outputs": OUTPUTS_1 | more,
        "books": BOOKS_1,
        "loss": {"lost_events": 0, "map_full": 0, "stack_errors": 0, "unparsed_lines": 0,
                 "probes_expected": 6, "probes_attached": 6, "complete": True, "unseen": False},
        "verdicts": [{"gate": "hold.max < 5ms", "level": "error", "outcome": "pass",
                      "observed": [100, 100], "operator": "<", "limit": 5_000_000, "unit": "ns",
                      "samples": 2, "min_samples": 1, "reason": "", "file": None, "line": None,
                      "column": None}],
        "messages": [],
    }  # fmt: skip
    return json.dumps(plain)


@pytest.mark.parametrize("outputs", [{}, EMPTY, FULL], ids=["none", "empty", "hostile"])
def test_a_result_reads_back(outputs):
    result = replace(made(outputs), verdicts=list(SAID), messages=["a\x1bb"])
    again = from_json(to_json(result))
    assert again == result


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_a_captured_result_reads_back(path):
    result = captured(path)
    assert from_json(to_json(result)) == result


@pytest.mark.parametrize("flavour", story.FLAVOURS)
@pytest.mark.parametrize("name", story.NAMES)
def test_every_profiles_result_reads_back(name, flavour):
    result = story.result_of(name, flavour)
    again = from_json(to_json(result))
    assert again == result
    assert shown_as_table(again) == shown_as_table(result)


def test_rows_read_back_have_their_types():
    (row,) = from_json(to_json(made(FULL))).histogram("h")
    assert {type(bucket) for bucket in row["buckets"]} == {Bucket}
    assert {type(interval) for interval in row["quantiles"].values()} == {Interval}


def test_bytes_that_are_no_text_read_back():
    """A command's word, a path or a line of bpftrace's may hold any byte."""
    base = made({})
    window = replace(base.window, command=Command(["./a\udcff"], 0))
    result = replace(base, window=window, messages=["value: \udcff"])
    again = from_json(to_json(result))
    assert again.window.command.argv == ["./a\\xff"] and again.messages == ["value: \\xff"]


def test_a_file_keeps_its_own_schema():
    schema = schemas.schema("result")
    for result in (FULL_RESULT, made(EMPTY), captured()):
        jsonschema.validate(json.loads(to_json(result)), schema)
    broken = json.loads(to_json(FULL_RESULT))
    broken["books"]["starts"] = "many"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


def judged(text: str, result: Any):
    return verdicts.judge(gates.parse(text, result.declarations), result)


def test_a_gate_on_a_custom_column_keeps_its_unit():
    again = from_json(to_json(story.result_of("writer-starvation")))
    loose, tight = (
        judged(f"starved_writers.max(write_hold_ns) < {limit}", again) for limit in ("5s", "211ns")
    )
    assert (loose.outcome, loose.unit, loose.limit) == ("pass", "ns", 5 * 10**9)
    assert (tight.outcome, tight.observed) == ("fail", [211, 211])
    plain = judged("starved_writers.max(overtakes) == 3", again)
    assert (plain.outcome, plain.unit) == ("pass", "")
    with pytest.raises(gates.GateFault, match="unit"):
        judged("starved_writers.max(write_hold_ns) < 5", again)


def test_a_gate_on_an_optional_key_can_be_judged_again():
    again = from_json(to_json(story.result_of("wait-times")))
    with pytest.raises(gates.GateFault, match="'uid' is unknown"):
        judged("wait{uid=3}.max < 5ms", again)
    assert gates.demanded(
        gates.metric("wait{owner_comm=x}.max", again.declarations), again.declarations
    ) == ("owner_pid",)


def test_schema_1_is_read():
    result = from_json(of_schema_1())
    assert result.schema == 2 and result.declarations.keys() == result.outputs.keys()
    assert result.histogram("hold")[0]["buckets"] == [Bucket(48, 51, 1), Bucket(96, 103, 1)]
    assert result.events("starved")[0]["write_hold_ns"] == 6_000_000
    assert isinstance(result.declarations["starved"], Events)
    assert from_json(to_json(result)) == result


def test_schema_1_is_shown_as_ever():
    text = shown_as_table(from_json(of_schema_1()))
    assert (
        """
Blame (blame)
  5.00 ms  mmap
    by agent[3] in /service
    count 3, max 4.00 ms, read 1.00 ms, write 4.00 ms, victims 2, every 30.0 ms ± 1.00 ms
      f+1
"""
        in text
    )
    for line in (
        "  write  count 2 (1/s)  total 148 ns (7.4e-06 % of the window)  max 100 ns",
        "    write  7          mysqld      /service      2  148 ns  100 ns",
        "    write      1   9 ns  9 ns  11.1 %              -",
        "    overtakes 7, write hold 6.00 ms",
    ):
        assert line in text.split("\n")
    for name in set(renderers.FORMATS) - set(renderers.OF_SPANS):
        assert renderers.named(name)(Series((from_json(of_schema_1()),))) or name == "github"


@pytest.mark.parametrize(
    ("text", "outcome", "observed"),
    [
        ("hold{mode=write}.p99 < 5ms", "pass", [96, 100]),
        ("hold.max < 100ns", "fail", [100, 100]),
        ("owners{owner_comm=mysqld}.sum == 148ns", "pass", [148, 148]),
        ("owners{owner_comm=other}.max < 5ms", "inconclusive", [None, None]),
        ("blame{cause=mmap}.max < 5ms", "pass", [4_000_000, 4_000_000]),
        ("shares.max < 5ms", "pass", [9, 9]),
        ("calls.count == 5", "pass", [5, 5]),
        ("starved.max(write_hold_ns) < 5ms", "fail", [6_000_000, 6_000_000]),
        ("starved.max(overtakes) < 8", "pass", [7, 7]),
        ("starved.count == 1", "pass", [1, 1]),
    ],
)
def test_schema_1_is_gated(text, outcome, observed):
    verdict = judged(text, from_json(of_schema_1()))
    assert (verdict.outcome, verdict.observed) == (outcome, observed)


def test_schema_1_is_judged_again_by_its_own_gates():
    result = from_json(of_schema_1())
    (found,) = series.gates_in(result)
    assert verdicts.judge(found, result) == result.verdicts[0]


def test_schema_1_with_a_table_of_causes_is_read():
    result = from_json(of_schema_1(causes=CAUSES_1))
    assert judged("causes{cause=mmap}.max == 5ns", result).outcome == "pass"
    assert "    mmap       1   5 ns  5 ns" in shown_as_table(result)


@pytest.mark.parametrize("name", ["blame", "shares", "owners", "starved"])
def test_schema_1_with_an_empty_table_is_read(name):
    """Of the columns there is nothing left but the names."""
    result = from_json(of_schema_1(**{name: OUTPUTS_1[name] | {"rows": []}}))
    assert "none seen" in shown_as_table(result)


def test_schema_1_without_a_unit_is_read():
    result = from_json(of_schema_1(calls=OUTPUTS_1["calls"] | {"unit": ""}))
    assert result.outputs["calls"].unit == "count"


def test_schema_1_with_advice_is_shown_as_ever():
    """It is no event: neither shown as one nor measured."""
    row = {"run": "blame", "why": "a writer waited 9 ms"}
    told = {"kind": "events", "title": "Next", "unit": "count", "keys": list(row),
            "hidden": False, "rows": [row]}  # fmt: skip
    result = from_json(of_schema_1(next=told))
    assert "  mmaplock-bt run blame\n    a writer waited 9 ms\n" in shown_as_table(result)
    assert "next" not in {one.metric.output for one in measures.measured([result])}


def test_schema_1_with_a_label_is_of_write_waits():
    """Rows without a mode: writer-starvation's, which schema 1 showed as such."""
    text = shown_as_table(from_json(of_schema_1()))
    assert "  8.00 ms write wait: one long hold  at +9 ns" in text.split("\n")


def test_rows_have_lines_of_their_own():
    _, _, outputs = to_json(FULL_RESULT).partition('\n "outputs": {\n')
    lines = outputs.splitlines()
    rows = [line for line in lines if line.startswith("    {")]
    assert len(rows) == sum(len(output.rows) for output in FULL_RESULT.outputs.values())
    assert all(json.loads(line.rstrip(",")) for line in rows)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"total": 5, "first": 1, "counts": [{"key": {}, "count": 5}]}, "total: neither"),
        ({"total": 99, "first": 1, "counts": [{"key": {}, "count": 98}]}, "total: neither"),
        ({"total": 99, "first": 1}, "total: neither"),
        ({"total": 99, "first": 0, "counts": [{"key": {}, "count": 99}]}, "first: not as many"),
        ({"total": 99, "first": 13, "counts": [{"key": {}, "count": 99}]}, "first: not as many"),
        ({"total": "many"}, "integer"),
        ({"counts": [{"count": 1}]}, "required"),
    ],
)
def test_numbers_of_events_that_are_no_rows_are_checked(changes, said):
    whole = json.loads(to_json(FULL_RESULT))
    whole["outputs"]["e"] |= {"total": 99, "first": 2, "counts": [{"key": {}, "count": 99}]}
    assert from_json(json.dumps(whole)).outputs["e"].total == 99
    whole["outputs"]["e"] |= {"counts": []} | changes
    with pytest.raises(UsageError, match=said):
        from_json(json.dumps(whole))


def changed(path: str, value: Any, text: str | None = None) -> str:
    """The full result's file with another value (or none) at a place."""
    whole = json.loads(text or to_json(FULL_RESULT))
    *parents, last = path.split(".")
    place = whole
    for part in parents:
        place = place[int(part) if isinstance(place, list) else part]
    last = int(last) if isinstance(place, list) else last
    if value is DROP:
        del place[last]
    else:
        place[last] = value
    return json.dumps(whole)


# A place in the file, what stands there instead, what is said of it.
WRONG = [
    ("outputs.e.rows.0.tid", DROP, "missing"),
    ("outputs.e.rows.0.own_ns", DROP, "missing"),
    ("outputs.t.rows.0.key.owner_pid", DROP, "missing"),
    ("outputs.b.rows.0.victims", DROP, "missing"),
    ("outputs.h.rows.0.buckets", DROP, "required"),
    ("outputs.c.rows.0.count", DROP, "required"),
    ("outputs.e.title", DROP, "required"),
    ("outputs.e.rows.0.hold_ns", "2", "integer"),
    ("outputs.e.rows.0.own_ns", "2", "int expected, not '2'"),
    ("outputs.e.rows.0.tid", True, "integer"),
    ("outputs.e.rows.0.comm", 5, "string"),
    ("outputs.e.rows.0.kernel_stack", "f+1", "array"),
    ("outputs.e.rows.0.kernel_stack.0", 5, "string"),
    ("outputs.e.rows.0.mode", "sideways", "one of read, write expected, not 'sideways'"),
    ("outputs.h.rows.0.key.mode", "sideways", "one of read, write"),
    ("outputs.e.rows.0", [1], "object"),
    ("outputs.e.rows", None, "array"),
    ("outputs.h.rows.0.buckets.0", [0, 0], "required"),
    ("outputs.h.rows.0.buckets.0", [0, 0, 1, 1], "at most 3 items"),
    ("outputs.h.rows.0.buckets.0", [0, 0, "1"], "integer"),
    ("outputs.h.rows.0.count", 1.5, "integer"),
    ("outputs.t.rows.0.sum", "5", "integer"),
    ("outputs.t.rows.0.sum", float("nan"), "integer"),
    ("outputs.e.unit", "parsecs", "'count', 'ns' or 'bytes'"),
    ("outputs.e.kind", "list", "outputs.e: input tag 'list'"),
    ("outputs.e", 5, ""),
    ("outputs", [], "object"),
    ("outputs.n", DROP, "outputs and declarations do not have the same names"),
    ("declarations.e", DROP, "outputs and declarations do not have the same names"),
    ("declarations.t.kind", "counter", "outputs.t.kind: table, but declared counter"),
    ("declarations.c", {"kind": "table", "title": "C"}, "outputs.c.kind: counter, but"),
    ("declarations.e.kind", "sideways", "declarations.e: its `kind` is one of"),
    ("declarations.e.fields.0", "colour", "fields: value error, unknown field colour"),
    ("window.duration_ns", "5", "integer"),
    ("window.ended_by", "boredom", "'duration'"),
    ("books.starts", 1.5, "integer"),
    ("verdicts.0.outcome", "perhaps", "'pass'"),
    ("schema", -1, "2"),
    ("schema", 3, "2"),
    ("schema", "2", "2"),
    ("schema", DROP, "required"),
    # What the text of a report needs, and no type says.
    ("verdicts.0.observed", [1], ""),
    ("verdicts.0.observed", [], ""),
    ("outputs.h.rows.0.quantiles", {}, ""),
    ("outputs.h.rows.0.buckets", [], ""),
    ("outputs.s.rows.2.behind.0", {}, ""),
    ("outputs.s.rows.1.queued.0", {}, ""),
    ("outputs.s.rows.1.writer_wait_ns", "x", "integer"),
]  # fmt: skip


def name_of(place: str, value: Any, _words: str) -> str:
    return f"no {place}" if value is DROP else f"{place}={value}"


def refused(tmp_path, capsys, text: str) -> str:
    """The one sentence in which all three commands refuse a file."""
    bad, good = tmp_path / "bad.json", tmp_path / "good.json"
    bad.write_bytes(text.encode("utf-8", "surrogateescape"))
    good.write_text(to_json(FULL_RESULT))
    said = set()
    for words in (
        ["report", str(bad)],
        ["gate", str(bad), "--gate", "t.max < 5ms"],
        ["compare", str(bad), str(good)],
        ["compare", str(good), str(bad)],
    ):
        assert main(words) == 2, words
        told = capsys.readouterr()
        assert told.out == "" and "Traceback" not in told.err
        assert told.err.count("\n") == 1 and told.err.endswith("\n")
        said.add(told.err.rstrip("\n"))
    (sentence,) = said
    start = f"mmaplock-bt: {bad}: no result file: "
    assert sentence.startswith(start)
    return sentence.removeprefix(start)


@pytest.mark.parametrize(("place", "value", "words"), WRONG, ids=[name_of(*w) for w in WRONG])
def test_what_is_wrong_is_one_sentence_with_its_place(tmp_path, capsys, place, value, words):
    sentence = refused(tmp_path, capsys, changed(place, value))
    assert words in sentence
    assert words.startswith(OWN_PLACES) or place in without_tags(sentence)


OWN_PLACES = ("outputs", "declarations", "fields")  # the words tell where it is


def without_tags(sentence: str) -> str:
    """The place without the kind of the output, which pydantic puts into it."""
    return re.sub(r"^(\w+\.\w+)\.(histogram|table|counter|events|group)\b", r"\1", sentence)


@pytest.mark.parametrize(
    ("place", "value"),
    [("outputs.e.rows.0.hold_ns", "2"), ("outputs.h.rows.0.count", 1.5),
     ("declarations.e.fields", ["colour"])],
)  # fmt: skip
def test_the_place_is_the_files_own(place, value):
    """No part of it is the reader's alone."""
    with pytest.raises(UsageError) as caught:
        from_json(changed(place, value))
    assert str(caught.value).startswith(f"no result file: {place}: ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"schema": 2, "tool": ' * 50_000, "not JSON"),
        ("[]", "object"),
        ("null", "object"),
        ('"text"', "object"),
        ("5", "object"),
        ("{}", "required"),
        ('{"schema": 1}', "without 'outputs'"),
        ('{"schema": 1, "outputs": []}', "of schema 1, but without"),
        ('{"schema": 1, "outputs": {"x": 5}}', "of schema 1, but without"),
        ('{"schema": 1, "outputs": {"x": {"kind": "table"}}}', "of schema 1, but without 'keys'"),
        ('{"schema": %s}' % ("9" * 5000), "not JSON"),
        ('{"schema": 2, "tool": "\udcff"}', ""),  # a byte that is no UTF-8
        ('{"schema": 2, "tool": "\\udcff"}', ""),
        ('{"a": "\x00"}', "not JSON"),
    ],
    ids=lambda value: value[:40],
)  # fmt: skip
def test_what_is_no_result_at_all(tmp_path, capsys, text, words):
    assert words in refused(tmp_path, capsys, text)


def places(value: Any, at: str = "") -> list[str]:
    """All places of a file, but for names with a dot."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for name, inner in items:
        if "." not in str(name):
            found.append(f"{at}{name}")
            found += places(inner, f"{at}{name}.") if isinstance(inner, dict | list) else []
    return found


PLACES = places(json.loads(to_json(FULL_RESULT)))


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.sampled_from(PLACES), JSON | st.just(DROP))
def test_a_file_that_is_read_can_be_shown(place, value):
    """Whatever was changed in it: it is refused in a sentence, or every format shows it."""
    try:
        result = from_json(changed(place, value))
    except UsageError as error:
        assert "\n" not in str(error)
        return
    for form in set(renderers.FORMATS) - set(renderers.OF_SPANS):
        renderers.named(form)(Series((result,), tuple(result.verdicts)))
    measures.measured([result])
