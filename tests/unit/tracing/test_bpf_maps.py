"""bpftrace's maps, where there are none any more; tests/kernel reads those that are there."""

import os

import pytest

from mmaplock_bt.errors import BpftraceError
from mmaplock_bt.tracing import bpf_maps


def test_a_bpftrace_that_has_closed_what_is_needed_is_gone():
    """As one that is killed does, one after the other, while its pid is still there."""
    assert bpf_maps.of_process(os.getpid()) == {}
    with pytest.raises(BpftraceError, match="gone before its maps were read"):
        bpf_maps.of_process(os.getpid(), needed={"holding"})
