"""What lies in a file is not lost: neither what was there nor what was collected."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

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
    (tmp_path / "b").symlink_to(tmp_path)
    for force in (False, True):
        for other in (str(tmp_path / "a.json"), "b/a.json", "./a.json"):
            with pytest.raises(UsageError, match="written twice"):
                files.check(["a.json", other], force=force)


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
    with pytest.raises(FileExistsError):
        files.opened(str(link), force=False)
    files.write(str(link), "ours", force=True)
    assert other.read_text() == "theirs" and link.read_text() == "ours"
    assert not link.is_symlink()


@pytest.mark.parametrize("planted", [Path.symlink_to, Path.hardlink_to])
def test_another_name_of_a_file_is_not_written_through(tmp_path, planted):
    other, name = tmp_path / "other", tmp_path / "name"
    other.write_text("theirs")
    planted(name, other)
    with files.opened(str(name), force=True) as file:
        file.write("ours")
    assert other.read_text() == "theirs" and name.read_text() == "ours"


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


def test_where_no_file_has_two_names_it_is_written_all_the_same(tmp_path, monkeypatch):
    """As on vfat: and what is there is not written over either."""

    def no_links(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "no hard links")

    monkeypatch.setattr(os, "link", no_links)
    place = tmp_path / "r.json"
    files.write(str(place), "first", force=False)
    with pytest.raises(UsageError, match="appeared meanwhile"):
        files.write(str(place), "second", force=False)
    assert place.read_text() == "first" and (tmp_path / "r-2.json").read_text() == "second"
    assert len(list(tmp_path.iterdir())) == 2


KILLED = """
import os, signal, sys
from mmaplock_bt import files
setattr({broken}, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
files.write(sys.argv[1], "x" * 100_000, force=True)
"""


@pytest.mark.parametrize("before", ["", "old"])
@pytest.mark.parametrize("broken", ["os, 'link'", "files, '_name'"])
def test_nothing_is_left_of_a_write_that_is_killed(tmp_path, before, broken):
    """When all is written, and in the moment before it gets a name."""
    place = tmp_path / "r.json"
    if before:
        place.write_text(before)
    words = [sys.executable, "-c", KILLED.format(broken=broken), str(place)]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
    assert [one.read_text() for one in tmp_path.iterdir()] == [before] * bool(before)


def test_where_every_file_has_a_name_it_is_written_all_the_same(tmp_path, monkeypatch):
    """As on NFS, or before Linux 3.11."""
    monkeypatch.setattr(files, "_NAMELESS", os.O_RDWR | os.O_DIRECTORY)  # EISDIR
    place = tmp_path / "r.json"
    files.write(str(place), "first", force=False)
    files.write(str(place), "second", force=True)
    with pytest.raises(UsageError, match="appeared meanwhile"):
        files.write(str(place), "third", force=False)
    assert {one.name: one.read_text() for one in tmp_path.iterdir()} == {
        "r.json": "second", "r-2.json": "third"
    }  # fmt: skip


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_file_is_for_whom_the_mask_says(tmp_path, mask):
    before = os.umask(mask)
    try:
        files.write(str(tmp_path / "r.json"), "text", force=False)
        files.write(str(tmp_path / "r.json"), "text", force=True)
    finally:
        os.umask(before)
    assert (tmp_path / "r.json").stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_stream_of_ours_is_written_to_as_it_is(tmp_path):
    """Opened anew it would be cut off: what was there before is lost then."""
    program = "from mmaplock_bt import files; files.write('/dev/stdout', 'new', force=False)"
    place = tmp_path / "out"
    with place.open("w") as out:
        out.write("before ")
        out.flush()
        subprocess.run([sys.executable, "-c", program], stdout=out, check=True)
    assert place.read_text() == "before new"


def test_a_folder_is_for_its_owner_alone(tmp_path):
    files.folder(tmp_path / "a/b")
    for one in ("a", "a/b"):
        assert (tmp_path / one).stat().st_mode & 0o7777 == 0o700
    files.folder(tmp_path / "a/b")
    (tmp_path / "file").write_text("kept")
    with pytest.raises(UsageError, match=r"cannot make the folder .*: there is another file"):
        files.folder(tmp_path / "file")


ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")
NOBODY = 65534


@pytest.fixture
def everybodys(tmp_path):
    """A folder like /tmp, with what another user has put there; and a folder of root's."""
    folder, roots = tmp_path / "tmp", tmp_path / "roots"
    folder.mkdir()
    folder.chmod(0o1777)
    roots.mkdir()
    (roots / "file").write_text("root's")
    (folder / "folder").mkdir()
    (folder / "to a folder").symlink_to(roots)
    (folder / "to a file").symlink_to(roots / "file")
    (folder / "to a device").symlink_to("/dev/null")
    os.mkfifo(folder / "fifo")
    for one in folder.iterdir():
        os.chown(one, NOBODY, NOBODY, follow_symlinks=False)
    return folder


@ROOT_ONLY
@pytest.mark.parametrize("name", ["folder", "to a folder"])
def test_anothers_folder_where_everybody_may_write_is_refused(everybodys, name, monkeypatch):
    place = everybodys / name
    with pytest.raises(UsageError, match="another user's, in a folder that everybody may write"):
        files.check([str(place / "r.json")], force=False)
    for one in (place, place / "2026"):
        with pytest.raises(UsageError, match="another user's"):
            files.folder(one)
    monkeypatch.chdir(everybodys)
    with pytest.raises(UsageError, match="another user's"):
        files.folder(Path(name) / "2026")
    assert [one.name for one in (everybodys.parent / "roots").iterdir()] == ["file"]
    assert not list((everybodys / "folder").iterdir())


@ROOT_ONLY
@pytest.mark.parametrize("name", ["to a file", "to a device", "fifo"])
def test_anothers_link_or_fifo_is_taken_and_forced_it_is_replaced(everybodys, name):
    place = everybodys / name
    with pytest.raises(UsageError, match="is there already"):
        files.check([str(place)], force=False)
    with pytest.raises(UsageError, match="appeared meanwhile"):
        files.write(str(place), "collected", force=False)
    files.check([str(place)], force=True)
    files.write(str(place), "ours", force=True)
    assert place.read_text() == "ours" and not place.is_symlink()
    assert (everybodys.parent / "roots/file").read_text() == "root's"
