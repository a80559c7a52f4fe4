"""Stacks as any release prints them."""

import pytest

from mmaplock_bt.stream import stacks


def test_the_tracers_own_frames_are_dropped():
    text = "\n    bpf_prog_1234+1\n        __mmap_lock_do_trace_released+75\n    __vm_munmap+175\n"
    assert stacks.frames(text) == ["__vm_munmap+175"]


@pytest.mark.parametrize("text", ["\n 0x7f01\n 0x2\n 0x0\n", "\n\t7f01\n\t2\n\t0\n", "7f01 x 2"])
def test_a_raw_user_stack(text):
    assert stacks.addresses(text) == [0x7F01, 2]
