"""A bpftrace that sudo starts; here that is a script, and starts it as who it is."""

import pytest

from mmaplock_bt.machine import raising
from mmaplock_bt.tracing.raised import Raised


@pytest.fixture
def sudo(tmp_path, monkeypatch):
    """Makes it, of what it does first."""

    def make(first):
        path = tmp_path / "sudo"
        skipped = 'while [ "$1" != -- ]; do shift; done; shift'
        path.write_text(f'#!/bin/sh\n{first}\n{skipped}; exec "$@"\n')
        path.chmod(0o755)
        monkeypatch.setattr(raising, "_words", [str(path)])

    return make


@pytest.mark.parametrize("first", [":", "echo 'sudo: unable to resolve host vm: unknown' >&2"])
def test_the_pid_is_read_behind_what_sudo_says(sudo, first):
    sudo(first)
    process = Raised(["cat"], {})
    try:
        assert process.pid == process._sudo and process.alive
    finally:
        process.end()


def test_a_sudo_that_starts_nothing_is_told_with_all_it_said(sudo):
    sudo("echo 'sudo: unable to resolve host vm' >&2; echo 'sudo: no password' >&2; exit 1")
    with pytest.raises(PermissionError, match=r"(?s)resolve host vm.*no password"):
        Raised(["cat"], {})
