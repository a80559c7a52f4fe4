"""Entry frames: dropped from a stack's end, never from its middle."""

import pytest

from mmaplock_bt.result import entry_frames


@pytest.mark.parametrize(
    ("stack", "shown"),
    [
        (["__vm_munmap+287", "__x64_sys_munmap+24", "do_syscall_64+97",
          "entry_SYSCALL_64_after_hwframe+118"], 2),
        (["__vm_munmap+287", "__x64_sys_munmap+24", "x64_sys_call+9", "do_syscall_64+97",
          "entry_SYSCALL_64_after_hwframe+118"], 2),
        (["__vm_munmap+1", "__arm64_sys_munmap+2", "invoke_syscall.constprop.0+3",
          "el0_svc_common.constprop.0+4", "do_el0_svc+5", "el0_svc+6", "el0t_64_sync_handler+7",
          "el0t_64_sync+8"], 2),
        (["do_user_addr_fault+1", "exc_page_fault+2", "asm_exc_page_fault+3"], 2),
        (["collapse_huge_page+1", "khugepaged+2", "kthread+3", "ret_from_fork+4",
          "ret_from_fork_asm+5"], 2),
        # A fault on the way out of another system call is no end.
        (["asm_exc_page_fault+3", "copy_to_user+1"], 2),
        (["do_syscall_64+97", "entry_SYSCALL_64_after_hwframe+118"], 2),
        (["syscall_user_dispatch+1", "entry_frames_of_mine+1"], 2),
        ([], 0),
    ],
)  # fmt: skip
def test_entry_frames_end_a_stack(stack, shown):
    assert entry_frames.without(stack) == stack[:shown]


def test_the_call_that_ends_a_stack_stays():
    stack = ["do_madvise+1", "__x64_sys_madvise+2", "do_syscall_64+3", "madvise(MADV_FREE)"]
    assert entry_frames.without(stack) == [*stack[:2], "madvise(MADV_FREE)"]
