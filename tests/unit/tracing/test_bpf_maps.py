"""bpftrace's maps, where there are none any more; tests/kernel reads those that are there."""

import os
import subprocess
from pathlib import Path

import pytest

from mmaplock_bt.errors import BpftraceError
from mmaplock_bt.tracing import bpf_maps


def test_a_bpftrace_that_has_closed_what_is_needed_is_gone():
    """As one that is killed does, one after the other, while its pid is still there."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as one:
        assert bpf_maps.of_process(one.pid) == {}
        with pytest.raises(BpftraceError, match="gone before its maps were read"):
            bpf_maps.of_process(one.pid, needed={"holding"})
        one.stdin.close()


def test_a_descriptor_that_was_closed_since_it_was_listed_is_no_map(monkeypatch):
    """bpftrace reads files while its maps are looked for."""
    closed = Path("/proc/self/fdinfo/999999")
    monkeypatch.setattr(Path, "iterdir", lambda _: iter([closed]))
    assert bpf_maps.of_process(os.getpid()) == {}
