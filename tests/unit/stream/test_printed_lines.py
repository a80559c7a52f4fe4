"""The short way through a printf's line comes to what the parser comes to, or to nothing."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmaplock_bt.spec import profile
from mmaplock_bt.spec.outputs import Outputs
from mmaplock_bt.stream import bpftrace_json, recording, records
from mmaplock_bt.stream.memo import LONGEST, Memo
from mmaplock_bt.stream.printed_lines import HEAD, TAIL
from mmaplock_bt.stream.records import Decoder, Events, Record
from mmaplock_bt.stream.stacks import Stack, frames
from tests import story
from tests.builders import DIALECTS, STREAMS, declared, escaped, printed, schema_of, stack_text

OWN = {"name": "own", "expression": "$x"}
OUTPUTS: Outputs = declared(
    flat={"kind": "events", "fields": ["time_ns", "mode", "comm"]},
    one={"kind": "events", "fields": ["time_ns", "hold_ns", "mode", "comm", "kernel_stack"]},
    two={"kind": "events", "fields": ["wait_ns", "mm", "cgroup", "kernel_stack", "user_stack"]},
    bare={"kind": "events", "fields": ["kernel_stack"]},
    mixed={"kind": "events", "fields": ["time_ns", "tid", OWN, "mode", "user_stack"]},
    numbers={"kind": "events", "fields": ["time_ns", "hold_ns"]},
)
# What bpftrace prints, and what a part may hold that means something to JSON, int() or split().
PARTS = st.one_of(
    st.integers(0, 2**64 - 1).map(str),
    st.sampled_from(["0", "1", "ffff8881", stack_text(["a+1", "b|c"]), "\n", "\n\n", ""]),
    st.binary(max_size=5).map(escaped),
    st.sampled_from(["007", " 5", "5\t", "\x1c5", "1_0", "²", "٣", "-1", "0x1", '"', "\\", "\\n"]),
    st.text(st.characters(exclude_categories=()), max_size=4),
)
LINES = st.tuples(
    st.sampled_from([*OUTPUTS, "open", "thread", "name", "holder", "running", "other"]),
    st.lists(PARTS, max_size=7),
)


def parsed(decoder: Decoder, line: str) -> list[Record]:
    return list(decoder.parsed(line)) if line.strip() else []


def same(lines: list[str], outputs: Outputs = OUTPUTS) -> int:
    """Reads all lines both ways, alone and at once; returns how many took the short one."""
    decoder = Decoder(outputs)
    short = 0
    for line in lines * 2:  # a second time from memory
        assert list(decoder.decode([line])) == parsed(decoder, line), line
        short += decoder.reads(line)
    one_by_one = (record for line in lines for record in parsed(decoder, line))
    assert told(decoder.decode(lines)) == told(one_by_one)
    return short


def told(found: Iterable[Record]) -> Any:
    """What is said of each output and of all else, in order; what could not be read, in any."""
    said: dict[str, list[Any]] = {}
    for record in found:
        if isinstance(record, Events):
            said.setdefault(record.output, []).extend((record.names, row) for row in record.rows)
        else:
            said.setdefault("", []).append(record)
    others = said.pop("", [])
    bad = sorted(repr(one) for one in others if isinstance(one, bpftrace_json.Unparsed))
    return said, bad, [one for one in others if not isinstance(one, bpftrace_json.Unparsed)]


@given(st.lists(LINES, max_size=5))
def test_a_line_as_bpftrace_prints_it(drawn):
    same([printed("|".join([name, *parts])) for name, parts in drawn])


@given(st.lists(st.tuples(LINES, st.integers(0, 60), st.text(max_size=2)), max_size=3))
def test_a_line_that_was_changed(drawn):
    """Any character put anywhere, unescaped: most are no JSON any more."""
    lines = [printed("|".join([name, *parts])) for (name, parts), _, _ in drawn]
    same([f"{line[:at]}{new}{line[at:]}" for line, (_, at, new) in zip(lines, drawn, strict=True)])


@given(
    st.sampled_from([*OUTPUTS]),
    st.lists(st.sampled_from([*'|"\\/ ntux07c', "\\u007c", "\\u0022", "\\n", "\\\\", "|1|", "\x01",
                              "\\uffffffc3", "\\uffffffa9", "\ud800", "é"]), max_size=12),
)  # fmt: skip
def test_a_line_of_any_escapes(name, pieces):
    for text in ("".join(pieces), f"1|2|{''.join(pieces)}", f"1|2|1|{''.join(pieces)}|\\n a\\n"):
        same([f"{HEAD}{name}|{text}{TAIL}"])


NUMBERS = ["5\t", "\t5", "\x1c5", "5\x1f", " 5", "5 ", "1_0", "007", "0", "00", "²", "٣", "-5",
           "+5", "0x5", "", "5\\n", "5\\u0030", '5"', "5\\"]  # fmt: skip
FRAMES = ["a\\u007cb", "a|b", "a\\u0022b", 'a"b', "a\tb", "a\\tb", "a\\b", "a\\\\", "a\\",
          "\\uffffffc3\\uffffffa9", "\\ud800", "\\x61", "\ud800", "\\/", "|\\n", ""]  # fmt: skip


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_that_int_or_json_take_for_something_else(number):
    same([f"{HEAD}{text}{TAIL}" for text in (
        f"numbers|{number}|6", f"numbers|6|{number}", f"mixed|5|{number}|7|1|\\n a\\n",
        f"open|{number}",
        f"flat|5|{number}|\\\\x61", f"two|5|f|{number}|\\n a\\n|\\n 5\\n",
    )])  # fmt: skip


@pytest.mark.parametrize("frame", FRAMES)
def test_frames_that_json_reads_otherwise_than_split_does(frame):
    same([f"{HEAD}{text}{TAIL}" for text in (
        f"two|5|f|7|\\n {frame}\\n|\\n 0x5\\n", f"two|5|f|7|\\n a\\n|\\n {frame}\\n",
        f"one|5|6|1|\\\\x61|\\n {frame}\\n", f"one|5|6|1|{frame}|\\n a\\n", f"bare|{frame}",
        f"bare|\\n {frame}\\n", f"running|5|f|7|\\n {frame}\\n",
    )])  # fmt: skip


def test_what_scripts_print_takes_the_short_way():
    stack = stack_text(["a+1", "b+2"])
    lines = [
        printed(f"flat|5|1|{escaped(b'x')}"),
        printed(f"one|5|6|1|{escaped(b'x')}|{stack}"),
        printed(f"two|5|f|7|{stack}|{stack_text(['0x5', '0x6|'])}"),
        printed(f"mixed|5|6|7|1|{stack}"),
        printed("numbers|5|6"),
        printed("open|5"),
        printed(f"thread|5|6|0|{escaped(b'x')}"),
    ]
    assert same(lines) == 2 * len(lines)


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_captured_streams(path):
    head, rest = recording.read(path.read_text().split("\n"))
    lines = list(rest)
    events = sum(HEAD in line for line in lines)
    # A name's line of schema 1 lacks the cgroup.
    short = sum('"name|' in line for line in lines) if schema_of(path) == 1 else 0
    assert same(lines, head.outputs) == 2 * (events - short)


@pytest.mark.parametrize("path", sorted(DIALECTS.glob("*/*.stdout")), ids=str)
def test_captured_dialects(path):
    same(path.read_text(encoding="utf-8", errors="surrogateescape").split("\n"))


@pytest.mark.parametrize("name", profile.names())
@pytest.mark.parametrize("flavour", ["full", "hostile", "lossy"])
def test_told_streams(name, flavour):
    head, rest = recording.read(story.lines(name, flavour))
    same(list(rest), head.outputs)


def row(number: int) -> str:
    return printed(f"flat|{number}|1|{escaped(b'x')}")


@pytest.fixture
def batches(monkeypatch):
    monkeypatch.setattr(records, "BATCH", 5)
    monkeypatch.setattr(records, "FEW", 2)


def rows_of(found: list[Record]) -> list[list[int]]:
    return [list(one.column("time_ns")) if isinstance(one, Events) else [] for one in found]


def test_events_are_read_many_at_once(batches):
    found = list(Decoder(OUTPUTS).decode(map(row, range(7))))
    assert found[1] == Events("flat", ("time_ns", "mode", "comm"),
                              [(n, "write", "x") for n in (5, 6)])  # fmt: skip
    assert rows_of(found) == [[0, 1, 2, 3, 4], [5, 6]]


def test_a_line_of_another_kind_keeps_its_place(batches):
    found = list(Decoder(OUTPUTS).decode([row(0), row(1), printed("open|5"), row(2)]))
    assert rows_of(found) == [[0, 1], [], [2]] and found[1] == records.Opened(5)


def test_one_bad_line_among_many_costs_no_other(batches):
    spoilt = row(3).replace('"data"', ' "data"')  # JSON, but not as bpftrace writes it
    lines = [row(0), row(1), row(2), printed("flat|5|9|"), spoilt, row(4)]
    found = list(Decoder(OUTPUTS).decode(lines))
    assert rows_of(found) == [[0, 1], [2], [], [3], [4]]
    assert found[2] == bpftrace_json.Unparsed("flat|5|9|")


def test_a_memory_is_bounded():
    calls = []
    memo = Memo[str, int](lambda key: calls.append(key) or len(key), room=2)
    assert [memo[key] for key in ("a", "bb", "a", "ccc", "a")] == [1, 2, 1, 3, 1]
    assert calls == ["a", "bb", "ccc", "a"] and len(memo) <= 2
    assert memo["x" * (LONGEST + 1)] == LONGEST + 1 and len(memo) <= 2


def test_equal_stacks_are_one_key():
    one, other = frames("a+1\n b+2\n"), Stack(["a+1", "b+2"])
    assert {one: 1}[other] == 1 and one == ["a+1", "b+2"] and one is not other
