"""What a stack's functions say about mmap_lock: who asks for it, and inside which it is held.

Names are those of Linux 5.11 to 7.x. They tell what is likely: other locks may be asked for in the
same functions.
"""

import re
from collections.abc import Sequence

_SYS = r"(?:__(?:x64|ia32|arm64|riscv|s390x?|se|do|do_compat|se_compat)_?sys_|k?sys_)"


def functions(patterns: str) -> re.Pattern[str]:
    """Returns what matches a function of these, patterns with spaces between.

    SYS_x stands for the entry of system call x, as in causes.yaml.
    """
    # Compilers rename functions that they split or specialise.
    return re.compile(f"(?:{'|'.join(patterns.split())})(?:\\.\\w+)*".replace("SYS_", _SYS))


# Who asks for it. wchan and stack leave out the scheduler's own functions, down_read and down_write
# among them (in_sched_functions, kernel/sched/core.c): the caller is the innermost frame.
ASKS = functions(r"""
    lock_mm_and_find_vma do_user_addr_fault do_page_fault __do_page_fault do_exception
    upgrade_mmap_lock_carefully get_mmap_lock_carefully mmap_(?:read|write)_lock\w*
    vm_mmap_pgoff (?:__)?vm_munmap vm_brk\w* do_mprotect_pkey madvise_\w+ do_madvise
    __mm_populate do_mlock do_mseal exit_mm do_exit exit_mmap __mmput dup_mm(?:ap)? copy_process
    exec_mmap setup_arg_pages get_arg_page bprm_\w+ alloc_bprm
    show_smaps_rollup m_start pagemap_\w+ clear_refs_\w+ get_mm_cmdline proc_pid_cmdline_read
    environ_read (?:__)?access_remote_vm do_procmap_query process_vm_rw\w* proc_map_files_\w+
    prctl_\w+ task_numa_work khugepaged\w* collapse_\w+ hpage_collapse_\w+ ksm_\w+ userfaultfd_\w+
    mfill_atomic\w* mwriteprotect_range do_shmat ksys_shmdt uprobe_\w+ register_for_each_vma
    (?:__)?(?:get|pin)_user_pages\w* __gup_longterm_\w+ gup_fast_fallback fixup_user_fault
    dump_vma_snapshot do_mbind do_migrate_pages do_get_mempolicy do_pages_\w+ kernel_move_pages
    unuse_mm try_to_unuse damon_\w+ aio_setup_ring
    SYS_(?:brk|munmap|mremap|mincore|msync|mlockall|munlockall|munlock|mlock2?|mprotect|madvise)
    SYS_(?:remap_file_pages|mseal|shmat|shmdt|prctl|process_vm_readv|process_vm_writev)
""")
# Inside which it is held.
HOLDS = functions(r"""
    __get_user_pages populate_vma_page_range faultin_page_range faultin_vma_page_range
    (?:__)?walk_page_(?:range|vma|mapping)\w* walk_pgd_range smap_gather_stats show_smap\w*
    show_numa_map do_vmi_\w*munmap (?:__)?do_munmap unmap_region unmap_vmas vms_\w+ remove_vma
    (?:__)?mmap_region do_mmap mprotect_fixup change_protection do_brk_flags move_vma mremap_to
    move_page_tables madvise_vma_behavior dup_mmap copy_page_range exit_mmap free_pgtables
    (?:__)?vma_start_write mlock_fixup collapse_huge_page queue_pages_range acct_stack_growth
    shift_arg_pages mm_take_all_locks
""")
# Of them, what is done to another process's memory.
REMOTE = functions(r"""
    (?:get|pin)_user_pages_remote (?:__)?access_remote_vm process_vm_rw\w* mem_rw smap_gather_stats
    show_smap\w* show_numa_map do_migrate_pages khugepaged\w* ksm_\w+ damon_\w+ clear_refs_write
    pagemap_read
""")
# Inside which a mapping's own lock is held for read (6.4), mostly by page faults. While another
# thread has mmap_lock for write nobody is in them by mmap_lock.
_USES_MAPPING = functions(r"""
    (?:__)?handle_mm_fault hugetlb_fault do_anonymous_page do_huge_pmd_\w+
    do_(?:fault|swap_page|wp_page) madvise_(?:dontneed|free)\w* zap_page_range_single\w*
    mfill_atomic\w* mwriteprotect_range
""")
# Let go of meanwhile (mm/madvise.c).
_LETS_GO = functions("vfs_fallocate vfs_fadvise")

FAULTS = "page faults under way"
# What a holder may be kept by, the first that is found further in.
REASONS = {
    "reclaim of memory": functions(r"""
        try_to_free_\w+ do_try_to_free_pages shrink_\w+ reclaim_\w+ try_to_compact_pages
        compact_zone\w* (?:__)?alloc_pages_direct_\w+ balance_dirty_pages\w* out_of_memory
        mem_cgroup_out_of_memory mem_cgroup_handle_over_high
    """),
    "I/O": functions(r"""
        io_schedule\w* folio_wait_\w+ wait_on_page_\w+ filemap_read_folio
        (?:__)?filemap_fdatawait\w* submit_bio_wait blk_\w+ request_wait_answer fuse_\w+ nfs\d?_\w+
        swap_read_folio\w* swap_readpage read_swap_cache\w* jbd2_\w+ write_inode_now
    """),
    FAULTS: functions(r"""
        (?:__)?vma_start_write\w* (?:__)?vma_enter_locked \w*vma_mark_detached
    """),
}


def asks(frame: str) -> bool:
    """Tells whether a function that sleeps here itself does so for the lock, most likely."""
    return _is(ASKS, frame)


def is_remote(frames: Sequence[str]) -> bool:
    """Tells whether a stack is of work on another process's memory."""
    return any(_is(REMOTE, frame) for frame in frames)


def uses_mapping(frames: Sequence[str]) -> bool:
    """Tells whether a stack is of work under a mapping's own lock, which a writer waits for."""
    return any(_is(_USES_MAPPING, frame) for frame in frames)


def held(frames: Sequence[str]) -> list[str]:
    """Returns a stack's frames from the innermost one inside which the lock is held; [] for none.

    What lies further in is what the holder waits for.
    """
    if any(_is(_LETS_GO, frame) for frame in frames):
        return []
    at = next((at for at, frame in enumerate(frames) if _is(HOLDS, frame)), len(frames))
    return list(frames[at:])


def reason(frames: Sequence[str]) -> str | None:
    """Returns what keeps a holder with such a stack: 'reclaim of memory', 'I/O', ...; or None."""
    rest = held(frames)
    within = frames[: len(frames) - len(rest) + 1] if rest else ()
    for told, pattern in REASONS.items():
        if any(_is(pattern, frame) for frame in within):
            return told
    return None


def _is(functions: re.Pattern[str], frame: str) -> bool:
    return functions.fullmatch(frame.partition("+")[0]) is not None
