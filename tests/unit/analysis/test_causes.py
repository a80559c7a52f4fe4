"""Kernel stack -> cause."""

import pytest

from mmaplock_bt.analysis import causes
from mmaplock_bt.spec.causes import advised
from mmaplock_bt.stream import stacks


def test_causes_of_stacks_of_several_kernels():
    told = {
        "fork": ["dup_mmap+1", "copy_process+2", "kernel_clone+3"],
        "fork ": ["dup_mm.constprop.0+1", "copy_process+2"],  # 6.1: dup_mmap inlined
        "exec": ["exit_mmap+1", "__mmput+2", "begin_new_exec+3", "load_elf_binary+4"],
        "exec ": ["vm_mmap_pgoff+1", "elf_load+2", "load_elf_binary+3"],
        "exit": ["exit_mmap+1", "__mmput+2", "do_exit+3"],
        "munmap": ["__vm_munmap+1", "__x64_sys_munmap+2", "do_syscall_64+3"],
        "munmap ": ["__vm_munmap+1", "__arm64_sys_munmap+2", "invoke_syscall+3"],
        "page fault": ["do_user_addr_fault+1", "exc_page_fault+2", "copy_to_user+3", "m_stop+4"],
        "smaps/maps/numa_maps": ["m_stop+1", "seq_read_iter+2", "vfs_read+3"],
        "cmdline/environ/mem": ["__access_remote_vm+1", "get_mm_cmdline+2", "vfs_read+3"],
        "khugepaged": ["collapse_huge_page+1", "khugepaged+2", "kthread+3"],
        "khugepaged ": ["collapse_huge_page+1", "hpage_collapse_scan_pmd+2"],  # cut off
        "ksm": ["unmerge_ksm_pages+1", "ksm_do_scan+2", "ksm_scan_thread+3", "kthread+4"],
        "userfaultfd": ["handle_userfault+1", "handle_mm_fault+2", "exc_page_fault+3"],
        "other(foo < bar < baz)": ["foo+1", "bar+2", "baz+3", "qux+4"],
        "other(foo)": ["foo+1", "do_syscall_64+2", "entry_SYSCALL_64_after_hwframe+3"],
        "unknown (no stack)": [],
    }
    assert {cause: causes.classify(stack) for cause, stack in told.items()} == {
        cause: cause.strip() for cause in told
    }


def test_what_a_holder_waits_for_is_not_why_it_took_the_lock():
    page = ["request_wait_answer+1", "filemap_fault+2", "handle_mm_fault+3"]
    remote = [*page, "__get_user_pages+4", "__access_remote_vm+5", "mem_rw+6"]
    assert causes.classify(remote) == "page fault"
    assert causes.of_open(remote) == "cmdline/environ/mem"
    assert causes.of_open([*page, "exc_page_fault+4"]) == "page fault"
    assert causes.of_open([]) == causes.UNKNOWN


DO_MADVISE = ["madvise_do_behavior+1", "do_madvise+2", "__x64_sys_madvise+3"]
RELEASE = ["madvise_unlock+149", "do_madvise+329", "__x64_sys_madvise+39"]


@pytest.mark.parametrize(
    ("frames", "cause"),
    [
        # What the process does itself is no thread of the kernel's.
        (["collapse_huge_page+1", "hpage_collapse_scan_pmd+2", "madvise_collapse+3",
          *DO_MADVISE], "madvise(MADV_COLLAPSE)"),
        (["unmerge_ksm_pages+1", "ksm_madvise+2", *DO_MADVISE], "madvise(MADV_MERGEABLE)"),
        # One cause while it lasts, and at the end by the call.
        (["handle_mm_fault+1", "__get_user_pages+2", "faultin_page_range+3", "madvise_populate+4",
          *DO_MADVISE], "madvise(MADV_POPULATE)"),
        ([*RELEASE, "madvise(MADV_POPULATE_WRITE)"], "madvise(MADV_POPULATE)"),
        ([*RELEASE, "madvise(MADV_POPULATE_READ)"], "madvise(MADV_POPULATE)"),
        ([*RELEASE, "madvise(MADV_DONTNEED_LOCKED)"], "madvise(MADV_DONTNEED)"),
        ([*RELEASE, "madvise(MADV_DODUMP)"], "madvise(MADV_DODUMP)"),
        (RELEASE, "madvise"),
        (["madvise_free_single_vma+1", "madvise_dontneed_free+2", *DO_MADVISE],
         "madvise(MADV_FREE)"),
        (["madvise_cold_or_pageout_pte_range+1", "walk_page_range+2", "madvise_pageout+3",
          *DO_MADVISE], "madvise(MADV_PAGEOUT)"),
        # The call says less than the stack of what happened in it.
        (["do_user_addr_fault+1", "exc_page_fault+2", *RELEASE, "madvise(MADV_FREE)"],
         "page fault"),
        (["__vm_munmap+1", "__x64_sys_munmap+2", "do_syscall_64+3"], "munmap"),
        (["madvise(MADV_FREE)"], "unknown (no stack)"),
    ],
)  # fmt: skip
def test_which_advice_it_was(frames, cause):
    assert causes.classify(frames) == cause


def test_every_advice_that_names_a_cause_is_one_that_scripts_tell():
    assert {f"MADV_{name}" for name in stacks.ADVICE.values()} >= set(advised())
