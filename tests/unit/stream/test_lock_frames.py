"""What a stack's functions say about the lock."""

import pytest

from mmaplock_bt.stream import lock_frames

POPULATE = ["__get_user_pages+1", "faultin_page_range+2", "do_madvise+3"]


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        (["shrink_folio_list+1", "try_to_free_mem_cgroup_pages+2", *POPULATE], "reclaim of memory"),
        (["io_schedule+1", "folio_wait_writeback+2", "shrink_folio_list+3", *POPULATE],
         "reclaim of memory"),
        (["request_wait_answer+1", "fuse_read_folio+2", *POPULATE], "I/O"),
        (["__vma_start_write+1", "mprotect_fixup+2"], "page faults under way"),
        (["vma_mark_detached+1", "vms_clear_ptes+2"], "page faults under way"),
        (POPULATE, None),
        (["folio_wait_bit+1", "filemap_fault+2", "exc_page_fault+3"], None),  # it has let go
        ([], None),
    ],
)  # fmt: skip
def test_what_keeps_a_holder(frames, reason):
    assert lock_frames.reason(frames) == reason


def test_outside_of_what_holds_the_lock_there_is_no_reason():
    assert lock_frames.held(["folio_wait_bit+1", "filemap_fault+2", "exc_page_fault+3"]) == []
    assert lock_frames.held(["vfs_fallocate+1", "madvise_vma_behavior+2"]) == []
    assert (
        lock_frames.held(["fuse_flush+1", "remove_vma.isra.0+2", "x+3"])[0] == "remove_vma.isra.0+2"
    )
