"""A raw stream's header."""

import json

import pytest

from mmaplock_bt.errors import UsageError
from mmaplock_bt.spec import profile
from mmaplock_bt.stream import recording
from mmaplock_bt.stream.recording import Head
from tests import story
from tests.builders import FULL, STREAM, declared, head


@pytest.mark.parametrize("name", profile.names())
def test_a_header_reads_back(name):
    found = head(profile.load(name).template.declaration.outputs)
    assert Head.parse(found.line()) == found
    assert found.line().startswith(recording.MARK) and "\n" not in found.line()


def test_a_hostile_header_reads_back():
    found = head(declared(**{name: plain for name, (plain, _) in FULL.items()}))
    assert Head.parse(found.line()) == found


def test_a_header_of_schema_1_is_read():
    first = STREAM.read_text().split("\n")[0]
    assert json.loads(first)["schema"] == 1
    outputs = Head.parse(first).outputs
    assert [(name, output.kind) for name, output in outputs.items()] == [
        ("hold", "histogram"),
        ("owners", "table"),
    ]
    assert [key.name for key in outputs["hold"].columns] == ["mode"]


def changed(**fields: object) -> str:
    plain = json.loads(story.lines("long-holds", "empty")[0])
    return json.dumps({name: value for name, value in (plain | fields).items() if value != ""})


@pytest.mark.parametrize(
    "line",
    [
        "", "{}", "[]", "5", "null", "{", "[" * 100_000,
        changed(type="other"), changed(type=""), changed(schema=0), changed(schema=3),
        changed(schema=""), changed(outputs=""), changed(outputs=[]), changed(outputs={"x": 5}),
        changed(outputs={"x": {}}), changed(outputs={"x": {"kind": "list", "title": "x"}}),
        changed(profile=""), changed(profile=5), changed(probes="many"), changed(argv=5),
    ],
    ids=lambda line: line[:60],
)  # fmt: skip
def test_what_is_no_header_is_one_sentence(line):
    with pytest.raises(UsageError, match="no raw stream of mmaplock-bt") as caught:
        recording.read([line])
    assert "\n" not in str(caught.value)


def test_an_empty_stream_is_none():
    with pytest.raises(UsageError, match="no raw stream"):
        recording.read([])
