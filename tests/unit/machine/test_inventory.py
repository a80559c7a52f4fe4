"""What is missing on a machine is told with its mending."""

import pytest

from mmaplock_bt.errors import TargetError
from mmaplock_bt.machine import features, inventory


def test_not_root_without_capabilities(monkeypatch, tmp_path):
    monkeypatch.setattr(inventory.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(features, "STATUS", tmp_path / "status")
    features.STATUS.write_text("Name:\tx\nCapEff:\t000000ffffffffff\n")
    assert "CAP_BPF" in inventory.privilege()
    features.STATUS.write_text("Name:\tx\nCapEff:\t0000007fffffffff\n")
    with pytest.raises(TargetError, match="sudo"):
        inventory.privilege()


def test_tracefs_and_tracepoints_are_looked_for(monkeypatch, tmp_path):
    monkeypatch.setattr(inventory, "TRACEFS", (tmp_path / "a", tmp_path / "b"))
    with pytest.raises(TargetError, match="mount -t tracefs"):
        inventory.tracefs()
    (tmp_path / "a/events").mkdir(parents=True)
    with pytest.raises(TargetError, match=r"5\.11"):
        inventory.tracepoints(inventory.tracefs())
    folder = tmp_path / "b/events/mmap_lock/mmap_lock_released"
    folder.mkdir(parents=True)
    assert inventory.tracepoints(inventory.tracefs()) == folder
