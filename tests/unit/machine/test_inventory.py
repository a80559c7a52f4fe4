"""What is missing on a machine is told with its mending."""

import os
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


@pytest.fixture
def held(monkeypatch, tmp_path):
    """Makes this process root that holds these capabilities (bits of CapEff)."""
    monkeypatch.setattr(inventory.os, "geteuid", lambda: 0)
    monkeypatch.setattr(features, "STATUS", tmp_path / "status")

    def make(*bits: int) -> None:
        features.STATUS.write_text(f"CapEff:\t{sum(1 << bit for bit in bits):016x}\n")

    return make


def test_root_of_a_container_is_told_what_it_lacks(held):
    """Docker's default set has none of them; CAP_SYS_ADMIN stands for the two others."""
    held(0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31)
    with pytest.raises(TargetError, match="without CAP_BPF, CAP_PERFMON") as told:
        inventory.privilege()
    assert "reinstall" not in told.value.mend and "--cap-add" in told.value.mend
    held(38)
    with pytest.raises(TargetError, match="without CAP_BPF: "):
        inventory.privilege()
    held(21)
    assert inventory.privilege() == "root" and inventory.is_all_of_root()
    held(38, 39)
    assert inventory.privilege() == "root, by CAP_BPF and CAP_PERFMON"
    assert not inventory.is_all_of_root()


def test_a_seccomp_profile_is_told_as_what_is_in_the_way(held, monkeypatch):
    """It is asked by calls that the kernel itself would answer otherwise."""
    held(38, 39)
    with features.STATUS.open("a") as status:
        status.write("Seccomp:\t2\nSeccomp_filters:\t1\n")
    monkeypatch.setattr(inventory.bpf_call, "refused", lambda: ["perf_event_open"])
    with pytest.raises(TargetError, match="seccomp profile refuses perf_event_open") as told:
        inventory.privilege()
    assert "--security-opt seccomp=unconfined" in told.value.mend
    monkeypatch.setattr(inventory.bpf_call, "refused", list)
    assert inventory.privilege() == "root, by CAP_BPF and CAP_PERFMON"


@pytest.mark.parametrize(
    ("table", "hidden"),
    [
        ("0" * 16 + " A fixed\n" + "f" * 16 + " T _text\n", False),
        ("0" * 16 + " A fixed\n" + "0" * 16 + " T _text\n", True),
        ("", True),
    ],
)
def test_addresses_of_functions_may_be_hidden(monkeypatch, tmp_path, table, hidden):
    monkeypatch.setattr(features, "KALLSYMS", tmp_path / "kallsyms")
    assert features.hides_symbols()
    features.KALLSYMS.write_text(table)
    assert features.hides_symbols() == hidden


def test_a_bpftrace_that_wants_all_of_root_is_not_to_be_reinstalled(held, fake):
    held(38, 39)
    told = inventory.unable(fake("exit 1"), "0.17.0")
    assert "CAP_SYS_ADMIN" in str(told) and "reinstall" not in str(told)


def test_root_of_a_user_namespace_alone_is_not_root(held, monkeypatch, tmp_path):
    held(21, 38, 39)
    monkeypatch.setattr(inventory, "USERS", tmp_path)
    with pytest.raises(TargetError, match="user namespace"):
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


def test_a_version_is_read_behind_what_sudo_says(fake):
    path = fake('echo "sudo: unable to resolve host vm: unknown" >&2; echo bpftrace v0.99.1')
    assert inventory.version(path) == "0.99.1"


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


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """A bpftrace in a folder, and that first on PATH."""

    def plant(entry: str, folder: Path = tmp_path) -> Path:
        file = folder / "bpftrace"
        file.write_text("#!/bin/sh\ntouch ran\n")
        file.chmod(0o755)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("PATH", f"{entry}:{os.environ['PATH']}")
        return file

    return plant


@pytest.mark.parametrize("entry", ["", ".", "bin"])
def test_the_current_folders_bpftrace_is_not_run(planted, tmp_path, entry):
    (tmp_path / "bin").mkdir()
    file = planted(entry, tmp_path / entry)
    with pytest.raises(TargetError, match=f"current folder.*--bpftrace {file} if it is meant"):
        inventory.binary("bpftrace")
    assert inventory.binary(str(file)) == str(file)


@pytest.mark.skipif(os.geteuid() != 0, reason="root refuses what others may change")
@pytest.mark.parametrize(
    "shared",
    [
        lambda file: file.chmod(0o777),
        lambda file: file.parent.chmod(0o777),
        lambda file: os.chown(file, 65534, 65534),
        lambda file: os.chown(file.parent, 65534, 65534),
        lambda file: file.symlink_to(_anothers(file)),
    ],
)
def test_root_runs_no_bpftrace_that_others_may_change(planted, tmp_path, shared):
    file = planted(str(tmp_path))
    assert inventory.binary("bpftrace") == str(file)
    shared(file)
    with pytest.raises(TargetError, match="which others than root may change: name it by --bpf"):
        inventory.binary("bpftrace")
    assert inventory.binary(str(file)) == str(file)


def _anothers(file: Path) -> Path:
    """The file elsewhere, as another user's."""
    elsewhere = file.parent / "elsewhere"
    elsewhere.mkdir()
    os.chown(elsewhere, 65534, 65534)
    return file.rename(elsewhere / "bpftrace")
