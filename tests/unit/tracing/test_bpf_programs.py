"""Which program is which probe's, by what the kernel shows of each release's programs."""

import pytest

from mmaplock_bt.tracing import bpf_programs
from mmaplock_bt.tracing.bpf_programs import Figures, Program

SCRIPT = """\
/*
 * tracepoint:not:this
 */
BEGIN
{
}
tracepoint:mmap_lock:mmap_lock_released
{
}
tracepoint:mmap_lock:mmap_lock_acquire_returned { @ = count(); }

tracepoint:task:task_rename, tracepoint:task:task_newtask
profile:ms:100
tracepoint:mmap_lock:mmap_lock_start_locking
END
"""
RELEASED, ACQUIRED, RENAMED, PROFILE, STARTED = PROBES = (
    "tracepoint:mmap_lock:mmap_lock_released",
    "tracepoint:mmap_lock:mmap_lock_acquire_returned",
    "tracepoint:task:task_rename",
    "profile:ms:100",
    "tracepoint:mmap_lock:mmap_lock_start_locking",
)
# Names as read from bpf_prog_info on Linux 6.18, in the order of the programs' ids.
BY_RELEASE = {
    "0.17": ["mmap_lock_relea", "mmap_lock_acqui", "task_rename", "100", "mmap_lock_start"],
    "0.23": ["tracepoint_mmap", "tracepoint_mmap", "tracepoint_task", "profile_ms_100_",
             "tracepoint_mmap"],
}  # fmt: skip


def test_the_probes_of_a_script():
    assert tuple(bpf_programs.probes_of(SCRIPT)) == PROBES


@pytest.mark.parametrize("release", BY_RELEASE)
def test_programs_find_their_probes_by_name_and_order(release):
    programs = [Program(7 + at, name) for at, name in enumerate(BY_RELEASE[release])]
    others = [Program(1, "BEGIN_1"), Program(99, "END_7")]
    found = bpf_programs.named(PROBES, [*others, *reversed(programs)])
    assert found == dict(enumerate(PROBES, 7))


def test_a_link_tells_the_tracepoint_whatever_the_order():
    links = ["mmap_lock_start_locking", "mmap_lock_released", "mmap_lock_acquire_returned"]
    programs = [Program(at, "tracepoint_mmap", one) for at, one in enumerate(links)]
    found = bpf_programs.named(PROBES, programs)
    assert found == {0: STARTED, 1: RELEASED, 2: ACQUIRED}


def test_a_raw_tracepoint_and_a_short_name():
    probes = ["rawtracepoint:mmap_lock_released", "profile:ms:10"]
    programs = [Program(1, "rawtracepoint_m"), Program(2, "profile_ms_10_5")]
    assert bpf_programs.named(probes, programs) == {1: probes[0], 2: probes[1]}


def test_without_a_name_a_program_is_nobodys():
    assert bpf_programs.named(PROBES, [Program(1, ""), Program(2, "else")]) == {}


@pytest.mark.parametrize(("more", "missed"), [("", None), ("recursion_misses:\t5\n", 5)])
def test_what_proc_says_of_a_program(tmp_path, monkeypatch, more, missed):
    text = f"pos:\t0\nprog_id:\t7\nrun_time_ns:\t11\nrun_cnt:\t3\n{more}"
    monkeypatch.setattr(bpf_programs, "PROC", tmp_path)
    (tmp_path / "1/fd").mkdir(parents=True)
    (tmp_path / "1/fdinfo").mkdir()
    for descriptor, kind in ((3, "anon_inode:bpf-prog"), (4, "anon_inode:bpf-map"), (5, "/x")):
        (tmp_path / f"1/fd/{descriptor}").symlink_to(kind)
        (tmp_path / f"1/fdinfo/{descriptor}").write_text(text)
    assert bpf_programs.Programs(1).figures() == {7: Figures(3, 11, missed)}
