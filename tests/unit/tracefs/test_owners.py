"""Whose an address space is: told where a stack shows it, unknown everywhere else."""

import pytest

from mmaplock_bt.tracefs import owners
from mmaplock_bt.tracefs.owners import EXEC, FORK_CHILD, NOBODY, SHARED, TEARDOWN, Owner, Owners
from mmaplock_bt.tracefs.threads import CLONE_THREAD, CLONE_VM, Thread, Threads

MM, CHILD_MM = 0x100, 0x200
VFORK = CLONE_VM | 0x4000
SYSCALL = ("do_syscall_64+113", "entry_SYSCALL_64_after_hwframe+118")


def known(kernel=()):
    return Owners(Threads({11: Thread(11, b"a"), 23: Thread(23, b"b")}, {}, {2, *kernel}))


def met(found, mm, actor, *frames, inner=False):
    return found.met(mm, actor, owners.shown([*frames, *SYSCALL]), is_inner=inner)


@pytest.mark.parametrize(
    ("frames", "what"),
    [
        (["__vm_munmap+175", "__x64_sys_munmap+23"], "own"),
        (["__mmap_lock_do_trace_released+75", "exc_page_fault+5"], "own"),
        (["vm_mmap_pgoff+444"], "own"),
        (["do_madvise+9", "__x64_sys_madvise+1"], "own"),
        (["do_madvise+9", "vector_madvise+3", "__x64_sys_process_madvise+1"], "foreign"),
        (["show_smaps_rollup+1037", "seq_read_iter+3"], "foreign"),
        (["__access_remote_vm+5", "proc_pid_cmdline_read+9"], "foreign"),
        # A fault while another's memory is copied is of the thread's own memory.
        (["exc_page_fault+1", "_copy_to_iter+2", "process_vm_rw_core.isra.0+3"], "own"),
        (["exit_mmap+3", "__mmput+1", "do_exit+7"], "exit"),
        (["exit_mmap+3", "__mmput+1", "exec_mmap+2", "begin_new_exec+1"], "exit"),
        (["exit_mmap+3", "__mmput+1", "proc_mem_release+7"], "teardown"),
        (["dup_mmap+8", "copy_process+3"], "fork"),
        (["copy_process+3", "kernel_clone+9"], "fork"),
        (["get_arg_page+1", "copy_string_kernel+3", "do_execveat_common.isra.0+7"], "new image"),
        (["begin_new_exec+2800", "load_elf_binary+796"], "old image"),
        (["down_read+1", "something_new+2"], ""),
    ],
)
def test_a_stack_shows(frames, what):
    assert owners.shown([*frames, *SYSCALL]) == what


def test_what_was_met_holds_for_others_until_the_process_is_another():
    found = known()
    assert found.of(MM, 11) is NOBODY
    assert met(found, MM, 11, "__vm_munmap+1") == Owner(11, owners.PROCESS)
    assert met(found, MM, 23, "show_smaps_rollup+1") == Owner(11, owners.PROCESS)
    found.executed(11)
    assert found.of(MM, 23) is NOBODY


def test_nothing_is_invented_of_a_foreign_or_unknown_stack():
    found = known()
    assert met(found, MM, 23, "show_smaps_rollup+1") is NOBODY
    assert met(found, MM, 23, "something_new+1") is NOBODY
    assert found.of(MM, 23) is NOBODY


def test_a_kernel_thread_has_no_memory_of_its_own():
    found = known(kernel=[23])
    assert met(found, MM, 23, "do_exit+1") is NOBODY


def test_a_fork_s_two_locks_are_told_apart():
    found = known()
    assert met(found, CHILD_MM, 11, "dup_mmap+1", inner=True) == Owner(11, FORK_CHILD)
    assert met(found, MM, 11, "dup_mmap+2") == Owner(11, owners.PROCESS)
    assert found.of(CHILD_MM, 11) is NOBODY


def test_a_vfork_s_child_works_on_its_parent_s_memory_until_it_execs():
    found = known()
    found.threads.new(11, 29, b"a", VFORK)
    assert met(found, MM, 29, "exc_page_fault+1") == Owner(11, SHARED)
    assert met(found, MM, 11, "exc_page_fault+1") == Owner(11, owners.PROCESS)
    assert met(found, CHILD_MM, 29, "alloc_bprm+1") == Owner(29, EXEC)
    assert met(found, MM, 29, "begin_new_exec+1") == Owner(11, SHARED)
    assert met(found, MM, 11, "begin_new_exec+1") == Owner(11, EXEC)
    found.threads.executed(29, 29)
    found.executed(29)
    assert met(found, CHILD_MM, 29, "exc_page_fault+1") == Owner(29, owners.PROCESS)
    assert found.of(MM, 29) == Owner(11, owners.PROCESS), "the parent still has it"


def test_a_teardown_is_its_process_s_when_that_makes_it_and_nobody_s_after_it():
    found = known()
    met(found, MM, 11, "__vm_munmap+1")
    found.exited(11)
    assert found.of(MM, 11) == Owner(11, owners.PROCESS)
    assert found.of(MM, 23) is NOBODY, "its memory may be another's by now"
    assert met(found, MM, 11, "exit_mmap+1", "do_exit+2") == Owner(11, TEARDOWN)
    assert met(found, MM, 23, "exit_mmap+1", "proc_mem_release+2") == Owner(0, TEARDOWN)
    assert found.of(MM, 11) is NOBODY


def test_a_new_thread_is_of_its_process_and_an_exec_makes_it_the_leader():
    threads = known().threads
    assert threads.new(11, 31, b"worker\0\0", CLONE_VM | CLONE_THREAD) is None
    assert threads.of(31) == Thread(11, b"worker")
    threads.executed(11, 31)
    assert threads.of(11) == Thread(11, b"worker")
    assert threads.of(31).pid == 0
    threads.named(11, b"x\0y")
    assert threads.of(11).comm == b"x"
