"""The agent on a machine that cannot trace, and with files that are wrong."""

import argparse

import pytest

from mmaplock_bt.agent.session import NO_CONTENTION
from mmaplock_bt.commands import agent
from mmaplock_bt.errors import TargetError, UsageError
from mmaplock_bt.machine import inventory
from tests.unit.script.test_render import CONTENDED


@pytest.fixture
def begin(tmp_path, monkeypatch):
    """Runs it with a file's text, on a machine."""

    def begun(text="", machine=CONTENDED):
        monkeypatch.setattr(inventory, "probe", lambda _: machine)
        path = tmp_path / "agent.yaml"
        path.write_text(text)
        path.chmod(0o600)
        words = argparse.Namespace(config=str(path), listen="127.0.0.1:0", bpftrace=None)
        return agent.main(words)

    return begun


@pytest.mark.parametrize("lacking", ["contention", "mmap_lock_offset", "rwsem_owner"])
def test_a_kernel_that_does_not_tell_contention_is_refused(begin, lacking):
    """Exit code 3, one sentence."""
    facts = {**CONTENDED.facts, lacking: ""}
    with pytest.raises(TargetError) as refused:
        begin(machine=inventory.Machine("5.10.0", "x86_64", 2, "0.17.0", "bpftrace", facts))
    assert refused.value.exit_code == 3
    assert str(refused.value) == f"{NO_CONTENTION}: boot Linux 5.19 or newer, with BTF"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("lissten: 127.0.0.1:1", "lissten: unknown key, allowed: listen"),
        ("trap: {folder: /proc/nowhere}", "cannot make the folder /proc/nowhere"),
        ("trap: {folder: /tmp, profile: nonesuch}", "nonesuch"),
        ("textfile: {path: /nowhere/a.prom}", "there is no folder /nowhere"),
        ("cgroups: [a]", "does not begin with one /"),
    ],
)
def test_a_file_that_cannot_be_followed_is_one_sentence(begin, text, told):
    with pytest.raises(UsageError, match=told) as refused:
        begin(text)
    assert refused.value.exit_code == 2 and "\n" not in str(refused.value)
