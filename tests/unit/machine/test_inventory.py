"""What is missing on a machine is told with its mending."""

from pathlib import Path

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


def test_a_version_is_remembered_per_binary(fake):
    """Not across a change of the file, nor where it is wanted fresh, nor when it was none."""
    path = fake('echo x >> "$0.calls"; echo bpftrace v0.99.1')
    calls = Path(f"{path}.calls")
    assert inventory.version(path) == inventory.version(path) == "0.99.1"
    assert calls.read_text() == "x\n"
    assert inventory.version(path, fresh=True) == "0.99.1"
    assert calls.read_text() == "x\nx\n"
    fake("echo bpftrace v0.100.0")
    assert inventory.version(path) == "0.100.0"
    fake("echo something else")
    for _ in range(2):
        with pytest.raises(TargetError, match="so it is not bpftrace"):
            inventory.version(path)
