"""Stacks as any release prints them."""

import pytest

from mmaplock_bt.stream import stacks


def test_the_tracers_own_frames_are_dropped():
    text = "\n    bpf_prog_1234+1\n        __mmap_lock_do_trace_released+75\n    __vm_munmap+175\n"
    assert stacks.frames(text) == ["__vm_munmap+175"]


@pytest.mark.parametrize("text", ["\n 0x7f01\n 0x2\n 0x0\n", "\n\t7f01\n\t2\n\t0\n", "7f01 x 2"])
def test_a_raw_user_stack(text):
    assert stacks.addresses(text) == [0x7F01, 2]


@pytest.mark.parametrize(
    ("printed", "last"),
    [
        (
            "\n        do_madvise+329\n        __x64_sys_madvise+39\nmadvise 5",
            "madvise(MADV_DONTNEED)",
        ),
        ("\ndo_madvise+329\n__x64_sys_madvise+39\nmadvise 24", "madvise(MADV_POPULATE_WRITE)"),
        ("\ndo_madvise+329\n__x64_sys_madvise+39\nmadvise 0", "__x64_sys_madvise+39"),
        ("\ndo_madvise+329\n__x64_sys_madvise+39\nmadvise 4294967296", "__x64_sys_madvise+39"),
        ("\ndo_madvise+329\n__x64_sys_madvise+39\n", "__x64_sys_madvise+39"),  # another machine
    ],
)
def test_the_advice_behind_a_stack_is_its_outermost_frame(printed, last):
    assert stacks.frames(printed)[-1] == last
    assert stacks.frames(printed)[0] == "do_madvise+329"


def test_a_stack_that_could_not_be_walked_has_no_frame():
    assert stacks.frames("madvise 0") == []
