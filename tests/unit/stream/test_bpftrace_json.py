"""One reading of what three releases really printed, and of what others are known to print."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmaplock_bt.result.rows import Bucket
from mmaplock_bt.stream import bpftrace_json
from mmaplock_bt.stream.bpftrace_json import (
    HistDump,
    MapDump,
    Said,
    StatsDump,
    TextDump,
    Unparsed,
)
from tests.builders import DIALECTS, JSON, KINDS

VERSIONS = ("0.17.0", "0.23.2", "0.27.1")


def recorded(version: str, case: str) -> list[bpftrace_json.Record]:
    """What a release printed for a case, read; a map's order is its own affair."""
    path = DIALECTS / version / f"{case}.stdout"
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    return [in_order(record) for record in bpftrace_json.parse(text.split("\n"))]


def in_order(record: bpftrace_json.Record) -> bpftrace_json.Record:
    if isinstance(record, MapDump | HistDump | StatsDump):
        return type(record)(record.name, tuple(sorted(record.entries, key=lambda e: e[0])))
    return record


def dumps(version: str, case: str) -> dict[str, object]:
    return {r.name: r.entries for r in recorded(version, case) if hasattr(r, "entries")}


@pytest.mark.parametrize("path", sorted(DIALECTS.glob("*/*.stdout")), ids=lambda p: str(p)[-40:])
def test_every_recorded_line_is_understood(path):
    records = recorded(path.parent.name, path.stem)
    assert isinstance(records[0], bpftrace_json.Attached) or path.stem == "startup"
    assert not [r for r in records if isinstance(r, Unparsed)] or path.stem == "startup"


def test_warnings_among_the_json():
    records = recorded("0.27.1", "startup")
    warnings = [r for r in records if isinstance(r, Unparsed)]
    assert len(warnings) == 11 and "RLIMIT_MEMLOCK" in warnings[1].text
    assert [type(r) for r in records if r not in warnings] == [
        bpftrace_json.Attached, bpftrace_json.Printed, *[MapDump] * 4, HistDump,
    ]  # fmt: skip
    (hold,) = (r for r in records if isinstance(r, HistDump))
    assert [key for key, _ in hold.entries] == ["false", "true"]


SAME = ["aggs", "aggs_keyed", "hist_keyed", "lhist", "lhist_underflow_only", "map_int_key",
        "map_str_val", "map_tuple_value", "print_tuple", "printf_bad_utf8"]  # fmt: skip


@pytest.mark.parametrize("case", SAME)
def test_three_releases_say_the_same(case):
    first, *others = (recorded(version, case) for version in VERSIONS)
    assert len(first) > 1 and all(other == first for other in others)


def test_aggregates():
    assert recorded("0.17.0", "aggs")[1:] == [
        TextDump("av", (("", "3"),)),
        MapDump("c", (("", 2),)),
        MapDump("mn", (("", -3),)),
        MapDump("mx", (("", 4),)),
        MapDump("s", (("", -2),)),
        StatsDump("st", (("", 2, -37),)),
    ]
    assert StatsDump("st", (("k", 1, 3),)) in recorded("0.27.1", "aggs_keyed")


@pytest.mark.parametrize("version", VERSIONS)
def test_keys_and_values_that_are_no_plain_number(version):
    keys = {bpftrace_json.integer(key) for key, _ in dumps(version, "map_bool")["k"]}
    assert keys == {0, 1}
    ((_, value),) = dumps(version, "map_bool")["v"]
    assert value == 1
    ((pointer, _),) = dumps(version, "map_ptr")["k"]
    ((_, as_value),) = dumps(version, "map_ptr")["v"]
    assert bpftrace_json.integer(pointer) % 2**64 == as_value % 2**64 > 2**63
    assert dict(dumps(version, "map_int_key")[""])["-3"] == -30
    ((biggest, _),) = dumps(version, "num_u64_cast")["b"]
    assert (
        bpftrace_json.integer(biggest) % 2**64
        == dumps(version, "num_u64_cast")["a"][0][1]
        == 2**64 - 1
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_text_in_keys(version):
    ((comm, _),) = dumps(version, "comm_evil")[""]
    assert comm == 'we"ird\n\udcff'
    names = {key: value for key, value in dumps(version, "map_str_key")[""]}
    blank = "" if version == "0.27.1" else " "  # from 0.24 keys lose their blanks
    assert names == {
        "foo": 1, "a,b": 2, f"x]:{blank}5": 3, "line\nbreak": 4, 'quo"te': 5, "back\\slash": 6,
        "tab\there": 7, f"utf8{blank}é€😀": 8, "": 9, "bell\aesc\x1b": 10,
    }  # fmt: skip


@pytest.mark.parametrize("version", VERSIONS)
def test_stacks_in_keys(version):
    stacks = [key for key, _ in dumps(version, "kstack3_key")[""]]
    frames = {tuple(line.strip() for line in stack.split("\n") if line) for stack in stacks}
    first = "__mmap_lock_do_trace_start_locking+75"
    assert (first, "__vm_munmap+267", "__x64_sys_munmap+23") in frames
    pid, comm, kernel, user = dumps(version, "stack_multi_key")[""][0][0].split(",")
    assert int(pid) and comm == "mmapload"
    assert kernel.strip().startswith(first)
    assert {line.strip() for line in user.split("\n")} >= {"__munmap+7", "main+512"}


@pytest.mark.parametrize("version", VERSIONS)
def test_hist_from_two_gibi_on(version):
    ((_, buckets),) = dumps(version, "hist_5s")["h"]
    filled = [bucket for bucket in buckets if bucket.n]
    assert filled[0] == Bucket(2**29, 2**30 - 1, 1)
    if version == "0.17.0":
        assert filled[1:] == [Bucket(2**31, None, 2)]
    else:
        assert filled[1:] == [Bucket(2**31, 2**32 - 1, 1), Bucket(2**32, 2**33 - 1, 1)]


def test_open_buckets():
    ((_, buckets),) = dumps("0.27.1", "lhist")["l"]
    assert buckets[0] == Bucket(None, -1, 1) and buckets[-1] == Bucket(100, None, 2)


@pytest.mark.parametrize(
    ("version", "case", "record"),
    [
        (
            "0.17.0",
            "mapfull_old_k",
            bpftrace_json.HelperError("map_update_elem", bpftrace_json.E2BIG),
        ),
        (
            "0.23.2",
            "mapfull_old_k",
            bpftrace_json.HelperError("map_update_elem", bpftrace_json.E2BIG),
        ),
        ("0.17.0", "delmissing_k", bpftrace_json.HelperError("map_delete_elem", -2)),
        ("0.23.2", "delmissing_k", bpftrace_json.HelperError("map_delete_elem", -2)),
        ("0.23.2", "mml_inflight_print", bpftrace_json.Lost(2098)),
        ("0.23.2", "system_unsafe", Said("syscall", "hi")),
        ("0.27.1", "errorf", Said("errorf", "oops 1")),
        ("0.27.1", "warnf", Said("warnf", "warn 1")),
        ("0.27.1", "map_empty", StatsDump("s", ())),
    ],
)
def test_said_beside_the_maps(version, case, record):
    assert record in recorded(version, case)


def test_runtime_errors_and_series():
    (error,) = (r for r in recorded("0.27.1", "warn_div") if isinstance(r, Said))
    assert error.kind == "runtime_error" and error.text.startswith("Divide or modulo by 0")
    (series,) = (r for r in recorded("0.27.1", "tseries") if isinstance(r, Said))
    assert series.kind == "tseries" and '"value": 5' in series.text


@pytest.mark.parametrize("version", VERSIONS)
def test_a_key_given_twice_is_kept_twice(version):
    found = [r for r in recorded(version, "mml_inflight_print") if isinstance(r, MapDump)]
    twice = [r for r in found if len({key for key, _ in r.entries}) < len(r.entries)]
    assert twice


@pytest.mark.parametrize(
    ("line", "record"),
    [
        # 0.20 and 0.21: a pointer bare, text that looks like one left alone
        (
            '{"type": "map", "data": {"@v": 0xffff888116951900}}',
            MapDump("v", (("", 0xFFFF888116951900),)),
        ),
        (
            '{"type": "map", "data": {"@m": {"say \\"0xff\\", 0xff": 0x10}}}',
            MapDump("m", (('say "0xff", 0xff', 16),)),
        ),
        # 0.24: "count"; the same name for an empty map
        ('{"type": "lost_events", "count": 12, "data": {"events": 12}}', bpftrace_json.Lost(12)),
        ('{"type": "map", "data": {"@c": {}}}', MapDump("c", ())),
        (
            '{"type": "hist", "data": {"@h": [{"min": 2305843009213693952, '
            '"max": "4611686018427387903", "count": "3"}]}}',
            HistDump("h", (("", (Bucket(2**61, 2**62 - 1, 3),)),)),
        ),
        # up to 0.16: raw bytes, UTF-8 or not
        (
            b'{"type": "map", "data": {"@m": {"\xc3\xa9\xff": 1}}}',
            MapDump("m", (("é\udcff", 1),)),
        ),
        (
            '{"type": "map", "data": {"@v": "a stack\\n"}}',
            TextDump("v", (("", "a stack"),)),
        ),
        ('{"type": "novelty", "data": 1}', Unparsed('{"type": "novelty", "data": 1}')),
        ('{"type": "map", "data": {}}', Unparsed('{"type": "map", "data": {}}')),
        ('{"type": "map", "data": {"@v": 1e999}}', TextDump("v", (("", "Infinity"),))),
        ("stdin:1:1-3: WARNING: something", Unparsed("stdin:1:1-3: WARNING: something")),
    ],
)
def test_other_dialects(line, record):
    text = line.decode("utf-8", "surrogateescape") if isinstance(line, bytes) else line
    assert list(bpftrace_json.parse([text])) == [record]


@given(st.text(st.characters(exclude_characters="\n")) | KINDS)
def test_no_line_breaks_the_parser_or_vanishes(line):
    for text in (line, f'{{"type": "{line}"', "[" * 100_000):
        assert bool(list(bpftrace_json.parse([text]))) == bool(text.strip())


@given(KINDS, JSON, JSON)
def test_no_message_breaks_the_parser_or_vanishes(kind, data, more):
    for message in (
        {"type": kind, "data": data, "msg": more, "helper": more, "retcode": more},
        {"type": kind, "data": {"@m": data, "events": data, "probes": data}},
        {"type": kind, "data": {"@m": {"1": data}, "@n": [data]}},
        {"type": data},
    ):
        assert list(bpftrace_json.parse([json.dumps(message)]))


def once(text: str) -> str:
    """A string as 0.17 to 0.21 escape it: bytes above 0x7f as \\uffffffXX."""
    ends = {'"': '\\"', "\\": "\\\\", "\n": "\\n"}
    raw = text.encode("utf-8", "surrogateescape")
    return "".join(
        f"\\uffffff{b:02x}" if b > 0x7F else ends.get(chr(b)) or json.dumps(chr(b))[1:-1]
        for b in raw
    )


@given(st.binary(max_size=16), st.integers(-(2**63), 2**64))
def test_any_name_as_a_key_comes_back(name, value):
    text = name.decode("utf-8", "surrogateescape")
    twice = once(text).replace("\\", "\\\\").replace('"', '\\"')
    for escaped in (once(text), twice) if "\\" not in text else (twice,):
        line = f'{{"type": "map", "data": {{"@m": {{"{escaped}": "{value}"}}}}}}'
        assert list(bpftrace_json.parse([line])) == [MapDump("m", ((text, value),))]


@given(st.integers(-(2**63), 2**64), st.booleans())
def test_an_integer_in_any_dress(number, truth):
    assert bpftrace_json.integer(str(number)) == bpftrace_json.integer(hex(number)) == number
    assert bpftrace_json.integer(number) == number
    assert bpftrace_json.integer(json.dumps(truth)) == bpftrace_json.integer(truth) == truth
