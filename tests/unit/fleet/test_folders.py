"""Which files are read, and of which host each is."""

import os

import pytest

from mmaplock_bt.errors import UsageError
from mmaplock_bt.fleet import folders


def made(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("{}")


def hosts(*given):
    return {place.path.name: place.host for place in folders.found([str(one) for one in given])}


def test_hosts(tmp_path):
    made(tmp_path, "host=a/1.json", "host=b%20c/day=2/2.json", "web1/3.json", "4.json", "n.txt",
         "host=/web2/5.json")  # fmt: skip
    assert hosts(tmp_path) == {
        "1.json": "a", "2.json": "b c", "3.json": "web1", "4.json": tmp_path.name, "5.json": "web2",
    }  # fmt: skip


def test_a_file_and_a_folder_within_a_partition(tmp_path, monkeypatch):
    made(tmp_path, "host=a/x/1.json", "web1/2.json")
    assert hosts(tmp_path / "host=a/x", tmp_path / "web1/2.json") == {
        "1.json": "a",
        "2.json": "web1",
    }
    monkeypatch.chdir(tmp_path / "web1")
    assert hosts(".") == {"2.json": "web1"} == hosts("../web1")


def test_a_file_is_read_once(tmp_path):
    made(tmp_path, "host=a/1.json")
    assert len(folders.found([str(tmp_path), str(tmp_path / "host=a"), f"{tmp_path}/."])) == 1


def test_what_is_no_regular_file_is_not_opened(tmp_path):
    made(tmp_path, "good.json")
    os.mkfifo(tmp_path / "fifo.json")
    (tmp_path / "link.json").symlink_to("/dev/zero")
    (tmp_path / "folder.json").mkdir()
    faults = {place.path.name: place.fault for place in folders.found([str(tmp_path)])}
    assert faults == {
        "good.json": "", "fifo.json": "no regular file",
        "link.json": "a link: only what it leads to is read, where that is given",
    }  # fmt: skip


def test_what_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="no such file or folder"):
        folders.found([str(tmp_path / "none")])
    with pytest.raises(UsageError, match="no result file"):
        folders.found([str(tmp_path)])
    with pytest.raises(UsageError):
        folders.found(["a\0b"])


def test_bounds(tmp_path, monkeypatch):
    made(tmp_path, *(f"{n}.json" for n in range(4)), "/".join(["d"] * 9) + "/deep.json")
    assert "deep.json" not in hosts(tmp_path)
    monkeypatch.setattr(folders, "FILES", 3)
    with pytest.raises(UsageError, match="more than 3 files"):
        folders.found([str(tmp_path)])
    monkeypatch.setattr(folders, "FOLDERS", 2)
    with pytest.raises(UsageError, match="more than"):
        folders.found([str(tmp_path / "d")])


def test_a_name_that_two_folders_have_is_told(tmp_path):
    made(tmp_path, "a/runs/1.json", "b/runs/2.json", "d1/host=x/3.json", "d2/host=x/4.json")
    told = list(folders.ambiguous(folders.found([str(tmp_path)])))
    assert told == [
        "2 folders of the name runs count as one host: call them host=NAME where they are not"
    ]
