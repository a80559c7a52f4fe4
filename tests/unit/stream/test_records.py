"""What a script prints is what is read: one table for both; and our own lines among them."""

import json
import re
from collections import Counter
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmaplock_bt.spec import profile
from mmaplock_bt.spec.columns import ACTOR_KINDS, MODES, OWNER_KINDS, STANDARD, Column
from mmaplock_bt.spec.outputs import Outputs
from mmaplock_bt.stream import bpftrace_json, recording, records
from mmaplock_bt.stream.bpftrace_json import Said, Unparsed
from mmaplock_bt.stream.records import (
    CgroupPaths,
    Decoder,
    Dropped,
    Events,
    Faulting,
    Followed,
    Look,
    Named,
    Sleeper,
    Sleepers,
    Span,
    Spent,
    Ticked,
    Trailer,
    UserFrames,
)
from tests.builders import (
    COST,
    HOSTILE,
    STREAMS,
    analysed,
    costs,
    declared,
    escaped,
    printed,
    schema_of,
    stack_text,
)

EVERYTHING: Outputs = declared(
    every={"kind": "events", "fields": [name for name, one in STANDARD.items() if one.from_kernel]},
    own={"kind": "events", "fields": ["tid", {"name": "own", "expression": "$x", "unit": "ns"}]},
)
KNOWN = EVERYTHING | {
    f"{name}_{output}": declaration
    for name in profile.names()
    for output, declaration in profile.load(name).template.declaration.outputs.items()
}
LAYOUTS = records.layouts(KNOWN)
U64 = st.integers(0, 2**64 - 1)
NAMES = st.binary(max_size=20) | st.sampled_from([HOSTILE.encode(), b"|||", b"\xff\xfe\n", b"\0x"])
FRAMES = st.lists(st.text("abz_.+[]019", min_size=1, max_size=9), max_size=4)
ADDRESSES = st.lists(st.integers(1, 2**64 - 1), max_size=4)
TEXT = st.text(st.characters(exclude_categories=()), max_size=9)
# What a directive of printf makes of the kernel's value.
WRITTEN = {"%llu": str, "%llx": "{:x}".format, "%rx": escaped, "%s": str}


def raw(column: Column) -> st.SearchStrategy[Any]:
    """What the kernel may have for a column, as the script hands it to printf."""
    match column.type:
        case "enum":
            return st.integers(0, len(column.labels) - 1)
        case "text":
            return NAMES
        case "kernel_stack":
            return FRAMES.map(stack_text)
        case "user_stack":
            bare = st.sampled_from(["{:x}", "0x{:x}"])
            return st.tuples(ADDRESSES, bare).map(lambda t: stack_text(map(t[1].format, t[0])))
        case _:
            return U64


def meant(column: Column, value: Any) -> Any:
    """What a reader shall have of it."""
    match column.type:
        case "enum":
            return column.labels[value]
        case "hex":
            return f"0x{value:016x}"
        case "text":
            return value[:16].split(b"\0")[0].decode("utf-8", "backslashreplace")
        case "kernel_stack":
            return value.split()
        case "user_stack":
            return [f"0x{int(word, 16):x}" for word in value.split()]
        case _:
            return value


def line_of(layout: records.Layout, values: list[Any], unprinted: tuple[str, ...] = ()) -> str:
    """The line as printf makes it from the format that the script has."""
    template = layout.format(unprinted)
    assert template.endswith("\\n")
    name, *words = template.removesuffix("\\n").split("|")
    assert len(words) == len(values)
    pairs = zip(words, values, strict=True)
    filled = [WRITTEN[word](value) if word else "" for word, value in pairs]
    return printed("|".join([name, *filled]))


def drawn(data: Any, layout: records.Layout) -> tuple[list[Any], dict[str, Any]]:
    values = [data.draw(raw(column), column.name) for column in layout.columns]
    read = {c.name: meant(c, value) for c, value in zip(layout.columns, values, strict=True)}
    return values, read


DECODER = Decoder(KNOWN)  # a new one for each line would take most of the time


def decoded(*lines: str) -> list[records.Record]:
    return list(DECODER.decode(lines))


def event(name: str, values: dict[str, Any]) -> Events:
    return Events(name, tuple(values), [tuple(values.values())])


@pytest.mark.parametrize("name", LAYOUTS)
@given(st.data())
def test_an_event_is_read_as_it_is_printed(name, data):
    values, read = drawn(data, LAYOUTS[name])
    assert decoded(line_of(LAYOUTS[name], values)) == [event(name, read)]


@pytest.mark.parametrize("name", records.LINES)
@given(st.data())
def test_the_scripts_own_lines_are_read_as_they_are_printed(name, data):
    values, read = drawn(data, records.LINES[name])
    (found,) = decoded(line_of(records.LINES[name], values))
    assert asdict(found) == read


@given(st.data())
def test_a_stack_of_depth_0_is_an_empty_one(data):
    layout = LAYOUTS["every"]
    values, read = drawn(data, layout)
    unprinted = ("kernel_stack", "user_stack")
    line = line_of(layout, values, unprinted)
    assert decoded(line) == [event("every", read | {one: [] for one in unprinted})]


def test_stacks_come_last():
    """Their length is open, and a frame may hold whatever stands between values."""
    for layout in (*LAYOUTS.values(), *records.LINES.values()):
        kinds = [column.is_stack for column in layout.columns]
        assert kinds == sorted(kinds)
    layout = records.LINES["running"]
    (found,) = decoded(printed(f"{layout.name}|7|a|5|\n a|b\n c\n"))
    assert found.kernel_stack == ["a|b", "c"]


@given(st.text(max_size=30))
def test_no_line_of_the_scripts_vanishes(rest):
    for name in (*LAYOUTS, *records.LINES, "other"):
        (found,) = decoded(printed(f"{name}|{rest}"))
        if isinstance(found, Unparsed):
            assert found.text.startswith(f"{name}|")
        elif name == "other":
            assert found == Said("printf", f"other|{rest}" if rest else "other")


@pytest.mark.parametrize(
    "rest",
    ["", "1", "1|2|3", "x|0|\\x61", "1|0|\\x6", "1|0|zz", "1|0|", "-|-|-"],
)
def test_a_wrong_value_is_not_understood(rest):
    (found,) = decoded(printed(f"name|{rest}"))
    assert found == Unparsed(f"name|{rest}") or (rest == "1|0|" and found == Named(1, 0, ""))


@pytest.mark.parametrize("number", [-1, 2, 99])
def test_a_number_without_a_label_is_not_understood(number):
    line = printed(f"holder|a|1|{number}|1|1|{escaped(b'x')}")
    assert [type(found) for found in decoded(line)] == [Unparsed]
    with pytest.raises(ValueError, match="mode has no value"):
        records.label(number, STANDARD["mode"])


def test_a_name_without_a_cgroup_is_of_an_older_stream():
    assert decoded(printed(f"name|7|{escaped(b'x')}")) == [Named(7, 0, "x")]


def test_names_are_exact():
    assert records.text("\\x61\\x22\\x2c\\x0a\\x1b\\x00\\x41") == 'a",\n\x1b'
    assert records.text("\\xff\\x41\\x00") == "\\xffA"


@given(U64)
def test_an_address_is_written_in_one_way(number):
    """In a map's key it is negative up to 0.23."""
    text = records.hexadecimal(number)
    assert int(text, 16) == number and len(text) == 18
    assert records.hexadecimal(number - 2**64) == text


@given(st.integers(1, 2**59), st.sampled_from(MODES), st.integers(0, 3), st.booleans())
def test_a_value_of_a_map_of_spans_is_read(since_ns, mode, depth, late):
    bits = records.BITS
    value = since_ns << bits["HOLD_TIME"] | MODES.index(mode) * bits["write"]
    value |= depth * bits["nested"] | late * bits["late"]
    assert records.held(value) == (since_ns, mode, late)
    assert depth * bits["nested"] & ~bits["any_nested"] == 0
    waiting = since_ns << bits["WAIT_TIME"] | MODES.index(mode)
    assert records.waited(waiting) == (since_ns, mode)


def test_kinds_are_numbered_as_they_are_listed():
    for what, labels in (("mode", MODES), ("owner", OWNER_KINDS), ("actor", ACTOR_KINDS)):
        assert records.KINDS[what] == {one: labels.index(one) for one in labels}


SPANS = st.builds(
    Span,
    state=st.sampled_from(["wait", "hold", "hold begun before the window"]),
    tid=U64, mm=U64.map(records.hexadecimal), mode=st.sampled_from(MODES), since_ns=U64,
    pid=st.none() | U64, comm=st.none() | TEXT,
)  # fmt: skip
FAULTING = st.builds(Faulting, tid=U64, comm=TEXT, kernel_stack=st.lists(TEXT, max_size=3))
OWN = st.one_of(
    st.builds(UserFrames, pid=U64, frames=st.dictionaries(TEXT, TEXT, max_size=3)),
    st.builds(CgroupPaths, paths=st.dictionaries(st.integers(0, 2**64).map(str), TEXT, max_size=3)),
    st.builds(
        Look, now_ns=U64, last=st.booleans(), spans=st.lists(SPANS, max_size=3).map(tuple),
        stacks=st.dictionaries(TEXT, st.lists(TEXT, max_size=3), max_size=3), failed=TEXT,
        faulting=st.dictionaries(TEXT, FAULTING, max_size=3),
    ),
    st.builds(
        Trailer, ended_by=st.sampled_from(["duration", "command", "bpftrace_died"]),
        duration_ns=U64, status=st.none() | st.integers(-64, 255), cpu_wait_ns=st.none() | U64,
        failure=st.none() | TEXT,
    ),
)  # fmt: skip
ONE_OF_EACH = [
    UserFrames(1, {"0x1": HOSTILE}),
    CgroupPaths({"7": HOSTILE}),
    Look(
        5,
        True,
        (Span("wait", 1, "0x0000000000000001", "read", 2, 3, HOSTILE),),
        {"1": ["f"]},
        {"1": Faulting(2, HOSTILE, ["f"])},
    ),
    Trailer("command", 5, 0, 7, HOSTILE),
    Spent(COST),
    Followed(5, 32, None),
    Sleepers((Sleeper(1, 2, HOSTILE, "waits", ["f"]),), cut=True),
    Dropped(23, 3, 1),
    Ticked(5, {"hold": [[0, 8, 3]]}),
]


STEPS = st.builds(
    Followed, st.integers(0, 2**63 - 1), st.integers(1, 2**63 - 1), st.none() | st.just(0)
)


@given(OWN | STEPS | st.builds(Spent, costs()))
def test_our_own_lines_come_back(record):
    line = record.line()
    assert "\n" not in line and line.isascii()
    assert decoded(line) == [record]


def test_there_is_a_line_of_each_kind_of_our_own():
    assert {type(record) for record in ONE_OF_EACH} == set(records.OWN)


@pytest.mark.parametrize("record", ONE_OF_EACH, ids=lambda record: record.TYPE)
def test_a_cut_line_of_our_own_is_counted(record):
    """As a full disk leaves it."""
    line = record.line()
    for end in range(1, len(line)):
        assert decoded(line[:end]) == [Unparsed(line[:end])]
    result = analysed({"kind": "counter"}, printed("open|5"), line[:-1])
    assert result.loss.unparsed_lines == 1 and not result.loss.complete


@pytest.mark.parametrize("wrong", [{"sample": 0}, {"since_ns": "1"}, {"ppm": -1}, {"x": 1}])
def test_a_step_that_is_none_is_counted(wrong):
    line = json.dumps(json.loads(Followed(5, 32, None).line()) | wrong)
    assert decoded(line) == [Unparsed(line)]


@pytest.mark.parametrize(
    "wrong",
    [5, {}, {"ppm": "1"}, {"ppm": -1}, {"ppm": 2**63}, {"own_ns": None}, {"probes": [{}]}],
)
def test_a_cost_that_is_none_is_counted(wrong):
    told = json.loads(Spent(COST).line())
    told["cost"] = told["cost"] | wrong if isinstance(wrong, dict) and wrong else wrong
    line = json.dumps(told)
    assert decoded(line) == [Unparsed(line)]


@pytest.mark.parametrize("record", ONE_OF_EACH, ids=lambda record: record.TYPE)
@pytest.mark.parametrize("wrong", [{"colour": 1}, {"spans": 5}, {"spans": [5]}, {"ended_by": "x"}])
def test_a_wrong_line_of_our_own_is_counted(record, wrong):
    line = json.dumps(json.loads(record.line()) | wrong)
    assert decoded(line) == [Unparsed(line)]


def test_a_line_of_bpftraces_cannot_pass_for_ours():
    """A name in a printf or in a map stands inside a string there."""
    forged = Trailer("duration", 1).line()
    (found,) = decoded(printed(forged))
    assert isinstance(found, Said)
    (found,) = decoded(json.dumps({"type": "map", "data": {"@x": forged}}))
    assert isinstance(found, bpftrace_json.TextDump)


def test_spans_of_schema_1_have_addresses_that_are_numbers():
    look = ONE_OF_EACH[2]
    line = look.line().replace('"0x0000000000000001"', "1")
    assert line != look.line() and decoded(line) == [look]


def test_there_are_streams_of_every_schema():
    assert {schema_of(path) for path in STREAMS} == {1, 2}


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_raw_streams_of_every_schema_are_read(path):
    head, lines = recording.read(path.read_text().split("\n"))
    found = list(Decoder(head.outputs).decode(lines))
    assert not [record for record in found if isinstance(record, Unparsed | Said)]
    kinds = Counter(type(record) for record in found)
    assert kinds[records.Opened] == kinds[records.Closed] == kinds[Trailer] == 1
    assert isinstance(found[-1], Trailer) and found[-1].ended_by == "command"
    events = [record for record in found if isinstance(record, Events)]
    printed_ones = re.findall(r'"data": "(?:long_holds)\|', path.read_text())
    assert sum(len(one.rows) for one in events) == len(printed_ones)
    assert bool(events) == ("forks" in path.name)
    for one in events:
        assert list(one.names) == [c.name for c in head.outputs[one.output].printed]
