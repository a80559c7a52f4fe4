"""A raw stream's header."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmaplock_bt.errors import UsageError
from mmaplock_bt.judging import series
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


@given(st.lists(st.text("ab\r\u2028é\udcff", max_size=9), max_size=9), st.integers(1, 5))
def test_a_file_is_read_in_pieces(lines, size):
    text = "".join(f"{line}\n" for line in lines)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(recording, "READ", size)
        assert list(recording.lines(io.StringIO(text))) == lines
        assert list(recording.lines(io.StringIO(f"{text}x"))) == [*lines, "x"]


def test_a_file_without_an_end_of_line_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(recording, "READ", 4)
    monkeypatch.setattr(recording, "LONGEST", 10)
    found = list(recording.lines(io.StringIO("x" * 100)))
    assert "".join(found) == "x" * 100 and max(map(len, found)) <= 14


@pytest.mark.parametrize("text", ["", "{", "x", '{"type": "mmaplock-bt"', "\n", "{}\n"])
def test_what_is_no_file_of_ours_is_one_sentence(text, tmp_path):
    path = tmp_path / "file"
    path.write_text(text)
    with pytest.raises(UsageError, match=str(path)):
        series.load(str(path))[0]


def test_a_raw_stream_is_read_from_its_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("\n".join(story.lines("blame", "hostile")) + "\n", errors="surrogateescape")
    assert series.load(str(path))[0] == story.result_of("blame", "hostile")
