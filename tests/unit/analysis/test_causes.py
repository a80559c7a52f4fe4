"""Kernel stack -> cause."""

from mmaplock_bt.analysis import causes


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
        "userfaultfd": ["handle_userfault+1", "handle_mm_fault+2", "exc_page_fault+3"],
        "other(foo < bar < baz)": ["foo+1", "bar+2", "baz+3", "qux+4"],
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
