"""What is read from a folder may be executed: nobody else may have put it there."""

import os

import pytest

from mmaplock_bt.machine.private_folder import is_private, read, write


@pytest.fixture
def folder(tmp_path):
    """Below /tmp, in which others may write and nobody renames what is not his."""
    made = tmp_path / "a/b"
    made.mkdir(0o700, parents=True)
    return made


def test_a_folder_of_ours_is_private_and_one_that_is_not_there_is_not(folder):
    assert is_private(str(folder))
    assert not is_private(str(folder / "none"))


@pytest.mark.parametrize(("which", "mode"), [(".", 0o770), (".", 0o1777), ("..", 0o777)])
def test_none_on_the_way_may_be_written_by_others(folder, which, mode):
    (folder / which).chmod(mode)
    assert not is_private(str(folder))


def test_a_link_is_as_private_as_what_it_leads_to(folder, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(folder)
    assert is_private(str(link))
    folder.parent.chmod(0o777)
    assert not is_private(str(link))


def test_what_is_written_is_read_again_and_nothing_else_is(folder):
    file = str(folder / "x")
    write(file, b"ours")
    assert read(file, 4) == b"ours" and read(file, 3) is None
    assert [one.name for one in folder.iterdir()] == ["x"]
    assert read(str(folder / "none"), 4) is None and read(str(folder), 4) is None


def test_no_link_is_followed_and_no_fifo_waited_for(folder):
    (folder / "theirs").write_bytes(b"theirs")
    (folder / "link").symlink_to(folder / "theirs")
    os.mkfifo(folder / "fifo")
    assert read(str(folder / "link"), 9) is None and read(str(folder / "fifo"), 9) is None
    write(str(folder / "link"), b"ours")  # in its place
    assert (folder / "theirs").read_bytes() == b"theirs" and read(str(folder / "link"), 9)


@pytest.mark.parametrize("mode", [0o666, 0o620])
def test_a_file_that_others_may_write_is_not_read(folder, mode):
    (folder / "x").write_bytes(b"theirs")
    assert read(str(folder / "x"), 9)
    (folder / "x").chmod(mode)
    assert read(str(folder / "x"), 9) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
def test_a_file_of_somebody_elses_is_neither_read_nor_made_in_his_folder(folder):
    (folder / "x").write_bytes(b"theirs")
    os.chown(folder / "x", 65534, 65534)
    assert read(str(folder / "x"), 9) is None
    os.chown(folder, 65534, 65534)
    write(str(folder / "below" / "y"), b"ours")
    assert not (folder / "below").exists()


def test_nothing_is_made_below_a_folder_that_others_may_write(folder):
    folder.chmod(0o777)
    write(str(folder / "below" / "y"), b"ours")
    assert not (folder / "below").exists()
