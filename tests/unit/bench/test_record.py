"""Records on disk."""

import pytest

from bench.record import UnreadableError, load, save, text
from bench.scenarios import MAIN
from tests.unit.bench.records import record, usual


def test_what_is_saved_is_loaded(tmp_path):
    path = tmp_path / "results/x.json"
    save(path, text(usual()))
    assert load(path) == usual()
    assert [file.name for file in path.parent.iterdir()] == ["x.json"]


def test_a_record_without_turns_is_one(tmp_path):
    save(tmp_path / "x.json", text(record()))
    assert load(tmp_path / "x.json") == record()


@pytest.mark.parametrize(
    "written",
    ["", "[]", "{", "\xff", '{"schema_version": 2}',
     usual().model_dump_json().replace(f'"{MAIN}":', '"other":', 1),
     usual().model_dump_json().replace('"relative":3.0', '"relative":0', 1)],
)  # fmt: skip
def test_what_is_no_record_is_one_sentence(tmp_path, written):
    path = tmp_path / "x.json"
    path.write_text(written, "latin-1")
    with pytest.raises(UnreadableError) as told:
        load(path)
    assert str(told.value).startswith(str(path))
    assert "\n" not in str(told.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UnreadableError):
        load(tmp_path / "x.json")
