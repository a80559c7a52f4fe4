"""Files as another process sees them: which are opened, and which are not even touched."""

import os
import sys

import pytest

from mmaplock_bt.tracing import foreign_files, patience

OURS = os.getpid()


def opened(path):
    found = foreign_files.opened(OURS, str(path))
    if found is None:
        return None
    file, identity = found
    with file:
        return file.read(), identity


@pytest.fixture
def plain(tmp_path):
    file = tmp_path / "plain"
    file.write_bytes(b"text")
    return file


def test_a_plain_file_is_opened_and_is_what_maps_calls_it(plain):
    text, identity = opened(plain)
    assert text == b"text"
    assert identity.endswith(f":{plain.stat().st_ino}")


def test_the_identity_is_that_of_the_kernels_list_of_mappings():
    libraries = {}
    with open("/proc/self/maps") as maps:  # noqa: PTH123
        for line in maps:
            _, permissions, _, device, inode, *path = line.split()
            if "x" in permissions and path and path[0].startswith("/"):
                libraries[path[0]] = f"{device}:{inode}"
    said = {path: opened(path) for path in libraries}
    assert libraries and all(said[path][1] == libraries[path] for path in libraries)


def test_what_is_no_plain_file_is_not_opened(tmp_path, plain):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(plain)
    (tmp_path / "folder").symlink_to(tmp_path)
    for path in (tmp_path / "fifo", tmp_path / "link", tmp_path, "/dev/null", "/proc/self/maps"):
        assert opened(path) is None
    with pytest.raises(NotADirectoryError):
        opened(tmp_path / "folder" / "plain")
    with pytest.raises(FileNotFoundError):
        opened(tmp_path / "none")
    assert opened(f"{tmp_path}/../{tmp_path.name}/plain") is None


def test_file_systems_that_anybody_may_mount_are_not_asked(plain, monkeypatch):
    """All mounts are said to be of that kind: what a FUSE server would be asked is not."""
    real = foreign_files._mounts
    for kind in ("fuse.sshfs", "fuse", "autofs", "new"):
        monkeypatch.setattr(
            foreign_files,
            "_mounts",
            lambda pid, kind=kind: {n: one._replace(kind=kind) for n, one in real(pid).items()},
        )
        assert opened(plain) is None


def test_a_stacked_file_system_of_another_user_namespace_is_not_asked(monkeypatch):
    mounts = {7: foreign_files.Mount("00:07", "overlay"), 8: foreign_files.Mount("00:08", "tmpfs")}
    monkeypatch.setattr(foreign_files, "_mounts", lambda pid: mounts if pid == OURS else {})
    assert set(foreign_files._trusted(OURS)) == {7, 8}
    monkeypatch.setattr(os, "readlink", lambda path: path)
    assert set(foreign_files._trusted(OURS)) == {8}


def test_the_executable_is_told_from_another():
    assert foreign_files.executable(OURS) == foreign_files.executable(OURS)
    inode = foreign_files.executable(OURS).partition(":")[2]
    assert int(inode) == os.stat(sys.executable).st_ino  # noqa: PTH116


def test_nobody_waits_for_what_hangs():
    reader, writer = os.pipe()
    try:
        assert patience.within(5, lambda: 3) == 3
        assert patience.within(5, lambda: int("no number")) is None
        for _ in range(patience.MOST_STUCK):
            assert patience.within(0.01, lambda: os.read(reader, 1)) is None
        assert patience.within(5, lambda: 3) is None, "too many are stuck"
    finally:
        os.write(writer, b"x" * patience.MOST_STUCK)
        for one in patience._stuck:
            one.join()
        os.close(reader)
        os.close(writer)
    assert patience.within(5, lambda: 3) == 3
