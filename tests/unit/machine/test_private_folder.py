"""What is read from a folder may be executed: nobody else may have put it there."""

import pytest

from mmaplock_bt.machine.private_folder import is_private


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
