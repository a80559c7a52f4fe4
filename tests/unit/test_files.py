"""What lies in a file is not lost: neither what was there nor what was collected."""

import os

import pytest

from mmaplock_bt import files
from mmaplock_bt.errors import UsageError


def test_a_file_that_is_there_is_refused_before_anything_is_done(tmp_path):
    there = tmp_path / "r.json"
    there.write_text("kept")
    with pytest.raises(UsageError, match=r"r\.json is there already: give another name, or --f"):
        files.check([str(tmp_path / "new.json"), str(there)], force=False)
    files.check([str(there)], force=True)
    dangling = tmp_path / "link"
    dangling.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="is there already"):
        files.check([str(dangling)], force=False)


def test_a_device_or_fifo_keeps_nothing_that_could_be_lost(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    files.check(["/dev/null", "/dev/null", str(fifo)], force=False)
    files.write("/dev/null", "text", force=False)


def test_one_name_for_two_files_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for force in (False, True):
        with pytest.raises(UsageError, match="written twice"):
            files.check(["a.json", str(tmp_path / "a.json")], force=force)


def test_a_file_that_appears_meanwhile_is_kept_and_so_is_the_text(tmp_path):
    path = tmp_path / "r.bmf.json"
    files.check([str(path)], force=False)
    path.write_text("another's")
    (tmp_path / "r-2.bmf.json").write_text("this, too")
    with pytest.raises(UsageError, match=r"appeared meanwhile.* in .*r-3\.bmf\.json"):
        files.write(str(path), "collected", force=False)
    assert path.read_text() == "another's"
    assert (tmp_path / "r-2.bmf.json").read_text() == "this, too"
    assert (tmp_path / "r-3.bmf.json").read_text() == "collected"


def test_forced_it_is_written_over(tmp_path):
    path = tmp_path / "r.json"
    path.write_text("a longer text than the new one")
    files.write(str(path), "new", force=True)
    assert path.read_text() == "new"


def test_a_link_is_never_followed(tmp_path):
    """Not even with --force: what it points to stays as it is."""
    other, link = tmp_path / "other", tmp_path / "link"
    other.write_text("theirs")
    link.symlink_to(other)
    with pytest.raises(UsageError):
        files.write(str(link), "ours", force=False)
    with pytest.raises(OSError, match="symbolic links"):
        files.opened(str(link), force=True).close()
    files.write(str(link), "ours", force=True)
    assert other.read_text() == "theirs" and link.read_text() == "ours"
    assert not link.is_symlink()


def test_what_cannot_be_written_whole_is_not_written_at_all(tmp_path, monkeypatch):
    place = tmp_path / "r.json"
    place.write_text("before")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        files.write(str(place), "after", force=True)
    assert [one.name for one in tmp_path.iterdir()] == ["r.json"]
    assert place.read_text() == "before"
