"""What is open by the kernel's maps, and what of them serves nobody."""

from mmaplock_bt.agent import kernel_maps
from mmaplock_bt.agent.kernel_maps import OLD_NS, _left_over, opened

MM, OTHER_MM = 0xFFFF888100000000, 0xFFFF888100000400
NOW = 100 * 10**9


def waiting(began_ns):
    return began_ns << 2 | 1


def test_a_hold_counts_while_somebody_waits():
    found = opened(
        NOW,
        {(MM,): NOW - 5, (OTHER_MM,): NOW - 900},
        {(7, MM): waiting(NOW - 4), (8, MM): waiting(NOW - 3)},
    )
    assert (found.hold_ns, found.wait_ns, found.since_by_mm) == (5, 4, {MM: NOW - 4})


def test_nothing_is_open():
    assert opened(NOW, {}, {}).hold_ns == opened(NOW, {(MM,): 1}, {}).wait_ns == 0


def test_what_came_after_the_clock_was_read_is_of_age_0():
    assert opened(NOW, {(MM,): NOW + 9}, {(7, MM): waiting(NOW + 9)}).wait_ns == 0


def test_entries_of_a_lock_that_nobody_waits_for_are_left_over():
    spans = {
        "waiting": {(7, MM): waiting(NOW)},
        "holding": {(8, MM): 1, (8, OTHER_MM): 2},
        "blocked": {(MM,): 3, (OTHER_MM,): 4},
        "ready": {(7, MM): 5, (9, MM): 6},
    }
    assert _left_over(spans, NOW, sees_threads=True) == {
        ("holding", (8, OTHER_MM)): 2,
        ("blocked", (OTHER_MM,)): 4,
        ("ready", (9, MM)): 6,
    }


def test_old_waits_of_threads_that_do_not_wait(tmp_path, monkeypatch):
    monkeypatch.setattr(kernel_maps, "PROC", tmp_path)
    for tid, state in ((1, "D"), (2, "R"), (3, "S")):
        (tmp_path / str(tid)).mkdir()
        (tmp_path / str(tid) / "stat").write_text(f"{tid} (a) Z ) {state} 1 1")
    old = waiting(NOW - OLD_NS - 1)
    spans = {"waiting": {(tid, MM): old for tid in (1, 2, 3, 4)}, "holding": {}, "blocked": {}}
    spans["waiting"][5, MM] = waiting(NOW)
    found = _left_over(spans, NOW, sees_threads=True)
    assert sorted(key[0] for _, key in found) == [2, 3, 4]
    assert not _left_over(spans, NOW, sees_threads=False)
