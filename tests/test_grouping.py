from mmaplock_bt.analysis import causes, grouping
from mmaplock_bt.spec.declaration import Output

S = 10**9


def test_a_rhythm_of_bursts():
    """Every 30 s three holds within half a second, a little late now and then."""
    starts = []
    for turn in range(5):
        begin = turn * 30 * S + (turn % 2) * S // 5
        starts += [begin, begin + S // 10, begin + S // 2]
    usual, error = grouping.period(starts)
    assert abs(usual - 30 * S) <= S // 5 and error <= S // 2


def test_no_rhythm():
    assert grouping.period([]) == (None, None)
    assert grouping.period([0, S, 2 * S]) == (None, None)
    assert grouping.period([0, S, 5 * S, 6 * S, 18 * S, 40 * S]) == (None, None)


def test_samples_weigh_and_tables_add_up():
    rows = [
        {"cause": "a", "hold_ns": 10, "n": 1, "tid": 1, "time_ns": 0, "at": "x"},
        {"cause": "a", "hold_ns": 3, "n": 97, "tid": 2, "time_ns": 0, "at": "y"},
        {"cause": "b", "hold_ns": 5, "n": 97, "tid": 2, "time_ns": 0, "at": "z"},
    ]
    told = {"kind": "table", "title": "T", "of": "x", "value": "hold_ns", "weight": "n",
            "keys": ["cause"], "distinct": {"threads": "tid"}, "worst": ["at"]}  # fmt: skip
    b, a = grouping.group(Output.model_validate(told), rows)
    assert (b["count"], b["sum"], b["max"], b["threads"]) == (97, 485, 5, 1)
    assert (a["count"], a["sum"], a["max"], a["threads"], a["at"]) == (98, 301, 10, 2, "x")
    again = {"kind": "table", "title": "T", "of": "y", "value": "sum", "keys": [],
             "where": {"cause": "a"}}  # fmt: skip
    (all_of_it,) = grouping.group(Output.model_validate(again), [a, b])
    assert (all_of_it["count"], all_of_it["sum"], all_of_it["max"]) == (98, 301, 10)


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
