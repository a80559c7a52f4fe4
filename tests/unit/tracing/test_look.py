"""A look at sleeping threads, on a /proc of files."""

from functools import partial

import pytest

from mmaplock_bt.tracing import current_stack, look
from tests.unit.tracing.proc_files import put

MMAP = ("vm_mmap_pgoff", "do_syscall_64")
CMDLINE = ("get_mm_cmdline", "proc_pid_cmdline_read", "vfs_read")
UNMAP = ("folio_wait_writeback", "fuse_vma_close", "remove_vma", "do_vmi_munmap", "__vm_munmap")
REMOTE = ("request_wait_answer", "__get_user_pages", "get_user_pages_remote", "mem_rw", "vfs_read")
FALLOCATE = ("shmem_undo_range", "vfs_fallocate", "madvise_vma_behavior", "do_madvise")
FUTEX = ("futex_do_wait", "__futex_wait", "do_futex")


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """On a busy machine files take their time."""
    for module in (current_stack, look):
        monkeypatch.setattr(module, "PATIENCE_S", 60)


@pytest.fixture
def thread(tmp_path):
    """Puts a thread into the /proc: (pid, tid, its frames, its state)."""
    return partial(put, tmp_path)


def roles(found):
    return {one.tid: one.role for one in found.sleepers}


def test_who_waits_and_who_may_hold(thread, tmp_path):
    thread(10, 10, UNMAP)
    thread(10, 11, MMAP)
    thread(10, 12, FUTEX, "S")
    thread(10, 13, FALLOCATE)  # let go of meanwhile
    thread(20, 20, CMDLINE)
    thread(30, 30, REMOTE, "S")
    thread(40, 40, UNMAP)  # in nobody's way
    found = look.look(proc=tmp_path)
    assert roles(found) == {11: "waits", 20: "waits", 10: "may hold", 30: "may hold"}
    assert not found.cut
    first = found.sleepers[0]
    assert (first.pid, first.comm, first.kernel_stack[0]) == (10, "x11", "vm_mmap_pgoff+26")


def test_where_nobody_waits_nobody_holds_anybody_up(thread, tmp_path):
    thread(10, 10, UNMAP)
    thread(10, 11, MMAP, "S")  # of the lock's waits none can be interrupted
    thread(20, 20, ("kernel_clone", "do_syscall_64"))  # vfork: for its child
    assert look.look(proc=tmp_path).sleepers == ()


def test_of_one_process_also_who_reaches_into_it(thread, tmp_path):
    thread(10, 10, UNMAP)
    thread(10, 11, MMAP)
    thread(20, 21, MMAP)
    thread(30, 30, ("__access_remote_vm", "mem_rw"))
    assert set(roles(look.look((10,), tmp_path))) == {10, 11, 30}


def test_who_waits_for_a_moment_is_not_told(thread, tmp_path, monkeypatch):
    """It has run between two readings of its schedstat."""
    thread(10, 11, MMAP)
    thread(10, 12, MMAP)
    ran = tmp_path / "10" / "task" / "12" / "schedstat"
    ran.write_text("5 5 1")
    monkeypatch.setattr(look.time, "sleep", lambda _: ran.write_text("6 5 2"))
    assert roles(look.look(proc=tmp_path)) == {11: "waits"}


def test_it_says_where_it_was_cut_off(thread, tmp_path, monkeypatch):
    for tid in range(look.SHOWN + 1):
        thread(10, 10 + tid, MMAP)
    monkeypatch.setattr(look, "PATIENCE_S", 60)
    found = look.look(proc=tmp_path)
    assert found.cut and len(found.sleepers) == look.SHOWN
    monkeypatch.setattr(look, "PATIENCE_S", -1)
    assert look.look(proc=tmp_path) == look.Sleepers((), cut=True)
