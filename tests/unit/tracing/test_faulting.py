"""Who is in a page fault that a writer waits for, on a /proc of files."""

import pytest

from mmaplock_bt.tracing import current_stack, faulting
from tests.unit.tracing.proc_files import put

FAULT = ("folio_zero_user", "__handle_mm_fault", "handle_mm_fault", "exc_page_fault")
FUTEX = ("futex_do_wait", "__futex_wait", "do_futex")
WRITER = ("__vma_start_write", "mprotect_fixup", "do_mprotect_pkey")


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """On a busy machine files take their time."""
    for module in (current_stack, faulting):
        monkeypatch.setattr(module, "PATIENCE_S", 60)


@pytest.mark.parametrize("wchan", ["0", "folio_wait_bit_common"], ids=["no CPU", "asleep"])
def test_the_thread_of_the_process_that_is_in_a_fault(tmp_path, wchan):
    put(tmp_path, 10, 10, WRITER)
    put(tmp_path, 10, 11, FUTEX, "S")
    put(tmp_path, 10, 12, ("vm_mmap_pgoff", "do_syscall_64"))
    put(tmp_path, 10, 13, FAULT, wchan=wchan)
    put(tmp_path, 20, 20, FAULT)  # of another address space
    found = faulting.beside(10, tmp_path)
    assert (found.tid, found.comm, found.kernel_stack[0]) == (13, "x13", "folio_zero_user+26")


def test_nobody_where_the_fault_is_not_seen(tmp_path):
    assert faulting.beside(10, tmp_path) is None
    put(tmp_path, 10, 10, FAULT)  # who asks is not who is waited for
    put(tmp_path, 10, 11, FAULT, wchan="")
    assert faulting.beside(10, tmp_path) is None


def test_it_ends_at_its_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(faulting, "STACKS", 3)
    for tid in range(11, 14):
        put(tmp_path, 10, tid, WRITER)
    put(tmp_path, 10, 14, FAULT)
    assert faulting.beside(10, tmp_path) is None
    monkeypatch.setattr(faulting, "STACKS", 4)
    assert faulting.beside(10, tmp_path).tid == 14
