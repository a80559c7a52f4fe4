"""The hierarchy in which a memory cgroup's id is the inode of a folder."""

from pathlib import Path

import pytest

from mmaplock_bt.errors import UsageError
from mmaplock_bt.machine import cgroups


@pytest.mark.parametrize(
    ("mounts", "found"),
    [
        ("cgroup /m/cpu cgroup rw,cpu 0 0\ncgroup /m/memory cgroup rw,memory 0 0\n", "/m/memory"),
        ("cgroup /m/cpu cgroup rw,cpu 0 0\ncgroup2 {v2} cgroup2 rw 0 0\n", "{v2}"),
        ("tmpfs /m tmpfs rw 0 0\n", None),
        (r"cgroup2 /a\040b\134\011c cgroup2 rw 0 0" + "\n", "/a b\\\tc"),
    ],
    ids=["hybrid", "v2", "none", "escaped"],
)
def test_where_memcg_ids_are_folders(monkeypatch, tmp_path, mounts, found):
    monkeypatch.setattr(cgroups, "MOUNTS", tmp_path / "mounts")
    cgroups.MOUNTS.write_text(mounts.format(v2=tmp_path))
    assert cgroups.hierarchy() == (found and Path(found.format(v2=tmp_path)))
    assert cgroups.is_unified() == ("cgroup2" in mounts)


@pytest.fixture
def hierarchy(monkeypatch, tmp_path):
    """A folder that stands for a mounted hierarchy, with one cgroup in another."""
    monkeypatch.setattr(cgroups, "MOUNTS", tmp_path / "mounts")
    root = tmp_path / "cgroup"
    (root / "outer/inner").mkdir(parents=True)
    cgroups.MOUNTS.write_text(f"cgroup2 {root} cgroup2 rw 0 0\n")
    return root


def test_every_cgroup_has_a_path_by_its_id(hierarchy):
    folders = {
        "/": hierarchy,
        "/outer": hierarchy / "outer",
        "/outer/inner": hierarchy / "outer/inner",
    }
    assert cgroups.paths() == {folder.stat().st_ino: path for path, folder in folders.items()}
    for path, folder in folders.items():
        assert cgroups.cgroup_id(path) == cgroups.cgroup_id(str(folder)) == folder.stat().st_ino


def test_a_cgroup_that_is_not_there_is_a_sentence(hierarchy):
    with pytest.raises(UsageError, match="no such cgroup under"):
        cgroups.cgroup_id("/outer/other")
    cgroups.MOUNTS.write_text("")
    assert cgroups.paths() == {}
    with pytest.raises(UsageError, match="no cgroup hierarchy is mounted"):
        cgroups.cgroup_id("/outer")


def test_the_machines_own_is_taken_before_a_containers_part(monkeypatch, tmp_path):
    """As `kubectl debug node/...` has them: its own first, the machine's below /host."""
    own, machines = tmp_path / "own", tmp_path / "host/sys/fs/cgroup"
    for folder in (own, machines):
        folder.mkdir(parents=True)
    monkeypatch.setattr(cgroups, "MOUNTS", tmp_path / "mounts")
    monkeypatch.setattr(cgroups, "ROOT", machines.stat().st_ino)
    cgroups.MOUNTS.write_text(f"cgroup2 {own} cgroup2 rw 0 0\ncgroup2 {machines} cgroup2 rw 0 0\n")
    assert cgroups.hierarchy() == cgroups.systemds() == machines and cgroups.is_whole(machines)
    cgroups.MOUNTS.write_text(f"cgroup2 {own} cgroup2 rw 0 0\n")
    assert cgroups.hierarchy() == own and not cgroups.is_whole(own)
