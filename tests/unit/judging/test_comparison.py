"""compare: a change is shown when it is there, not when it is chance, and never out of nothing."""

from dataclasses import replace

import pytest

from mmaplock_bt.errors import Inconclusive
from mmaplock_bt.judging import comparison
from mmaplock_bt.judging.comparison import Rules
from mmaplock_bt.result.model import Command
from mmaplock_bt.result.rows import Bucket
from mmaplock_bt.spec import tolerances
from tests.builders import LONG_HOLDS, noisy, run, with_rows

RULES = Rules(tolerance=tolerances.parse("+10% and +1us"))


def compared(base, new, *conditions: str, rules: Rules = RULES, **more):
    wanted = [tolerances.parse_condition(text, LONG_HOLDS) for text in conditions]
    return comparison.compare(base, new, rules, wanted, **more)


def test_the_same_build_8_times_and_one_that_is_half_as_slow_again_8_times():
    """`make alarms` does it more often."""
    same = [compared(noisy(2 * s), noisy(2 * s + 1), "hold.p99:+10%") for s in range(8)]
    assert sum(any(change.is_shown for change in made.changes) for made in same) <= 1
    assert sum(made.verdicts[0].outcome == "fail" for made in same) <= 1
    slow = [compared(noisy(2 * s), noisy(2 * s + 1, 1.5), "hold.p99:+10%") for s in range(8)]
    assert sum(made.verdicts[0].outcome == "fail" for made in slow) >= 7
    assert all(
        change.is_shown for change in slow[0].changes if change.metric.field in ("p50", "sum")
    )


def test_a_change_within_the_tolerance_is_not_shown_however_sure():
    made = compared(noisy(1, noise=0.001), noisy(2, 1.05, noise=0.001), "hold.sum:+10%")
    (total,) = [change for change in made.changes if change.metric.field == "sum"]
    assert total.p < 0.001 and not total.is_shown
    assert made.verdicts[0].outcome == "pass"
    floor = compared(noisy(1), noisy(2, 1.5), "hold.p99:+10% and +100ms")
    assert floor.verdicts[0].outcome == "pass"


def dated(runs, minutes):
    return [replace(one, window=replace(one.window, start=f"2026-01-01T00:{minute:02}:00+00:00"))
            for one, minute in zip(runs, minutes, strict=True)]  # fmt: skip


def test_of_series_made_one_after_the_other_the_quietest_runs_are_asked():
    """A noisy hour slows nearly every run of one; a slower build slows each."""
    base = [run(*[1_000_000 + turn] * 50) for turn in range(10)]
    mostly = [run(*[1_500_000 + turn] * 50) for turn in range(9)] + [run(*[1_000_000] * 50)]
    after = compared(dated(base, range(10)), dated(mostly, range(10, 20)), "hold.sum:+10%")
    assert after.verdicts[0].outcome == "pass"
    assert "quietest 50.0 ms -> 50.0 ms" in after.verdicts[0].reason
    turns = compared(dated(base, range(0, 20, 2)), dated(mostly, range(1, 20, 2)), "hold.sum:+10%")
    assert turns.verdicts[0].outcome == "fail"
    slower = [run(*[1_500_000 + turn] * 50) for turn in range(10)]
    assert compared(base, slower, "hold.sum:+10%").verdicts[0].outcome == "fail"


def test_less_may_be_worse():
    fewer = [run(*[5] * 50) for _ in range(6)]
    many = [run(*[5] * 100) for _ in range(6)]
    assert compared(many, fewer, "hold.count:-10%").verdicts[0].outcome == "fail"
    assert compared(fewer, many, "hold.count:-10%").verdicts[0].outcome == "pass"


def test_too_few_runs_and_runs_without_samples_are_inconclusive():
    few = compared(noisy(1, runs=5), noisy(2, 9.0), "hold.p99:+10%")
    assert few.verdicts[0].outcome == "inconclusive"
    assert "5 runs, fewer than 6" in few.verdicts[0].reason
    assert not any(change.is_shown for change in few.changes)
    idle = [run(acquires=0) for _ in range(6)]
    for gate in ("hold.count:+10%", "hold.max:+10%", "long_holds.count:+10%"):
        assert compared(idle, idle, gate).verdicts[0].outcome == "inconclusive"


def test_incomplete_runs_are_left_out_and_told():
    lossy = [replace(one, loss=replace(one.loss, lost_events=1, complete=False))
             for one in noisy(3, 50.0, runs=4)]  # fmt: skip
    made = compared(noisy(1), [*noisy(2), *lossy], "hold.p99:+10%")
    assert made.verdicts[0].outcome == "pass"
    assert "4 of 14 new runs left out: lost events 1" in made.notes
    assert compared(noisy(1), lossy, "hold.p99:+10%").verdicts[0].outcome == "inconclusive"


def busy(runs, share: float):
    return [replace(one, window=replace(one.window, cpu_wait_ns=int(share * 2e9) + turn))
            for turn, one in enumerate(runs)]  # fmt: skip


def test_a_busier_machine_is_told():
    quiet, slow = busy(noisy(1), 0.02), busy(noisy(2, 1.5), 0.30)
    (note,) = compared(quiet, slow).notes
    assert "2% of the base runs' time, 30% of the new ones'" in note
    assert not compared(slow, quiet).notes and not compared(slow, slow).notes


def test_from_nothing_to_something():
    none, some = [run(5, events=0)] * 6, [run(5, events=3)] * 6
    made = compared(none, some, "long_holds.count:+10%")
    (change,) = [change for change in made.changes if change.metric.output == "long_holds"]
    assert change.is_shown and change.change is None
    assert made.verdicts[0].outcome == "fail"


def on(kernel="6.18.1", cpus=2, **profile):
    return [
        replace(
            one,
            target=replace(one.target, kernel=kernel, cpus=cpus),
            profile=replace(one.profile, **profile),
        )
        for one in noisy(1, runs=6)
    ]


def commanded(tree):
    command = Command(["make"], 0)
    return [replace(one, window=replace(one.window, command=command)) for one in on(tree=tree)]


@pytest.mark.parametrize(
    ("base", "new", "reason"),
    [
        (on("6.3.9"), on("6.4.0"), "kernel: before 6.4 and 6.4 or later"),
        (on("6.13.7"), on("6.14.0"), "kernel: 6.4 or later and 6.14 or later"),
        (on(cpus=2), on(cpus=4), "CPUs: 2 and 4"),
        (on(name="a"), on(name="b"), "profile: a and b"),
        (on(params={"threshold_ns": 5}), on(params={"threshold_ns": 6}), "threshold_ns"),
        (on(filter={"mode": "read"}), on(), "filter: mode read and none"),
        (on(), [*on(), *on(cpus=8)], "CPUs: 2 and 8"),
        (on(filter={"owner": {"pid": 5}}), on(), "filter: 1 owner.pid and none"),
        (on(filter={"owner": {"pid": 5}}), on(filter={"owner": {"pid": [5, 6]}}), "2 owner.pids"),
        (
            on(filter={"actor": {"pid": 5}}),
            on(filter={"owner": {"pid": 5}}),
            "1 actor.pid and 1 ow",
        ),
        (on(filter={"owner": {"comm": ["a", "b"]}}), on(), "owner.comm a or b and none"),
        (commanded(tree=True), commanded(tree=False), "the command's processes and every process"),
        (commanded(tree=None), on(), "traced: the command's processes and every process"),
    ],
)
def test_what_cannot_be_compared_is_refused(base, new, reason):
    with pytest.raises(Inconclusive, match="cannot be compared") as caught:
        compared(base, new)
    assert reason in str(caught.value) and caught.value.exit_code == 5
    assert any(reason in note for note in compared(base, new, allow_different=True).notes)


def test_kinds_of_buckets_are_told_apart():
    wide = [
        with_rows(one, "hold", [row | {"buckets": [Bucket(2**20, 2**21 - 1, 100)]}])
        for one in noisy(1, runs=6)
        for row in one.histogram("hold")
    ]
    with pytest.raises(Inconclusive, match=r"buckets of hold: eighths .* and powers of two"):
        compared(noisy(1, runs=6), wide)


def test_a_run_that_saw_nothing_is_of_no_other_kind():
    assert not compared([*noisy(1), run()], [*noisy(2), run()]).notes


def test_another_pid_is_the_same_filter():
    """The same service has another pid after its restart; how many were traced is the same."""
    base, new = on(filter={"owner": {"pid": 5}}), on(filter={"owner": {"pid": 6}})
    assert not compared(base, new).notes
    several = on(filter={"owner": {"pid": [5, 6]}}), on(filter={"owner": {"pid": [7, 8]}})
    assert not compared(*several).notes
    assert compared(commanded(tree=False), on()).notes == ("command: make and none",)
    assert "kernel release: 6.18.1 and 6.18.2" in compared(on(), on("6.18.2")).notes
