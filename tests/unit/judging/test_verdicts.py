"""What gates say of a result, of several, and of nothing."""

from dataclasses import replace
from fractions import Fraction
from statistics import median_high, median_low

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmaplock_bt.judging import series, verdicts
from mmaplock_bt.result.model import Books, Result
from mmaplock_bt.result.saved import from_json, to_json
from mmaplock_bt.spec import gates
from tests.builders import gate, run


def said(text: str, result: Result, **more):
    return verdicts.judge(gate(text, **more), result)


def test_pass_fail_and_undecided_by_the_bucket():
    result = run(*[1000] * 99, 70_000)
    assert said("hold{mode=write}.p50 < 2us", result).outcome == "pass"
    assert said("hold{mode=write}.p50 < 500ns", result).outcome == "fail"
    inside = said("hold{mode=write}.p50 < 1000ns", result)
    assert inside.outcome == "undecided" and inside.observed == [960, 1023]
    assert said("hold{mode=write}.max == 70us", result).outcome == "pass", "a maximum is exact"


def test_a_rate_is_exact():
    result = run(*[5] * 3)  # in 2 s
    below, above = said("hold.rate < 2/s", result), said("hold.rate <= 1/s", result)
    assert (below.outcome, above.outcome) == ("pass", "fail")
    assert below.observed == [1, 2] and below.unit == "/s"
    assert gates.decide("<", Fraction(3, 2), Fraction(3, 2), 2) == "pass"


@pytest.mark.parametrize(
    ("text", "result", "reason"),
    [
        ("hold.p99 < 5ms", run(), "no sample"),
        ("hold.max < 5ms", run(), "no sample"),
        ("hold{mode=read}.p99 < 5ms", run(5), "no sample"),
        ("hold.count < 5", run(acquires=0), "no sample"),
        ("long_holds.count == 0", run(acquires=0), "no sample"),
        ("long_holds.max(hold_ns) < 5ms", run(5), "no sample"),
        ("hold.p99 < 5ms", run(5, lost_events=3), "lost events 3"),
        ("hold.p99 < 5ms", run(5, map_full=3), "map full 3"),
        ("hold.p99 < 5ms", run(5, unparsed_lines=1), "unparsed lines 1"),
        ("hold.p99 < 5ms", run(5, probes_attached=0), "probes attached 0 of 1"),
        ("hold.p99 < 5ms", run(5, complete=False), "did not see the window through"),
        ("long_holds{cause=x}.count == 0", run(5, stack_errors=1), "1 stack missing"),
        ("loss.map_full == 0", run(5, lost_events=1), "lost events 1"),
    ],
)
def test_nothing_and_loss_are_never_a_pass(text, result, reason):
    verdict = said(text, result)
    assert verdict.outcome == "inconclusive" and reason in verdict.reason
    assert verdicts.exit_code([verdict]) == 5


def test_unbalanced_books_and_a_dead_bpftrace_are_inconclusive():
    result = run(5)
    unbalanced = replace(result, books=replace(result.books, residue=2))
    dead = replace(result, window=replace(result.window, ended_by="bpftrace_died"))
    unread = replace(result, books=Books(*[None] * 9))
    for broken in (unbalanced, dead, unread):
        assert said("hold.p99 < 5ms", broken).outcome == "inconclusive"


def test_what_is_missing_can_itself_be_gated():
    assert said("loss.lost_events == 0", run(5, lost_events=3)).outcome == "fail"
    result = run(5)
    unbalanced = replace(result, books=replace(result.books, residue=2))
    assert said("books.residue == 0", unbalanced).outcome == "fail"
    assert said("books.residue == 0", result).outcome == "pass"


def test_a_missing_stack_leaves_times_and_counts_alone():
    assert said("hold.p99 < 5ms", run(5, stack_errors=1)).outcome == "pass"
    assert said("long_holds.count == 1", run(5, events=1, stack_errors=1)).outcome == "pass"


def test_counts_rest_on_the_acquisitions_that_were_looked_at():
    verdict = said("long_holds.count == 0", run(5, acquires=1009))
    assert (verdict.outcome, verdict.samples) == ("pass", 1009)
    assert said("long_holds.count == 0", run(5, events=2)).outcome == "fail"


def test_min_samples():
    assert said("hold.p99 < 5ms", run(*[5] * 99), min_samples=100).outcome == "inconclusive"
    assert said("hold.p99 < 5ms", run(*[5] * 100), min_samples=100).outcome == "pass"


def test_exit_codes_by_level():
    result = run(5)
    failed, passed = said("hold.p99 < 1ns", result), said("hold.p99 < 1s", result)
    nothing = said("hold{mode=read}.p99 < 1s", result)
    warned = said("warn: hold.p99 < 1ns", result)
    assert warned.level == "warn" and warned.outcome == "fail"
    assert verdicts.exit_code([passed, warned]) == 0
    assert verdicts.exit_code([passed, nothing]) == 5
    assert verdicts.exit_code([nothing, failed]) == 1
    assert verdicts.exit_code([]) == 0


def over(text: str, runs: list[Result], how: str, asked: int = 0):
    return verdicts.over_runs(gate(text), runs, how, asked or len(runs))


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=9))
def test_over_runs(tops):
    runs = [run(top) for top in tops]
    median = over("hold.max < 500us", runs, "median")
    assert median.observed == [median_low(tops), median_high(tops)]
    worst = over("hold.max < 500us", runs, "worst")
    assert worst.observed == [max(tops)] * 2
    assert over("hold.max > 500us", runs, "worst").observed == [min(tops)] * 2
    every = over("hold.max < 500us", runs, "every")
    assert (every.outcome == "pass") == all(top < 500_000 for top in tops)
    assert every.outcome == worst.outcome


def test_a_run_that_says_nothing_could_have_been_anything():
    good, lossy, bad = run(5), run(5, lost_events=1), run(10**9)
    assert over("hold.max < 1ms", [good, good, lossy], "median").outcome == "pass"
    assert over("hold.max < 1ms", [good, bad, lossy], "median").outcome == "inconclusive"
    assert over("hold.max < 1ms", [bad, bad, lossy], "median").outcome == "fail"
    for how in ("worst", "every"):
        assert over("hold.max < 1ms", [good, good, lossy], how).outcome == "inconclusive"
        assert over("hold.max < 1ms", [good, bad, lossy], how).outcome == "fail"
    missed = over("hold.max < 1ms", [good], "median", asked=3)
    assert missed.outcome == "inconclusive" and "2 of 3 runs: was not made" in missed.reason
    assert over("hold.max < 1ms", [lossy], "median", asked=1).outcome == "inconclusive"


def test_verdicts_are_read_back_and_judged_again():
    result = series.with_verdicts(run(5), [gate("warn: hold.p99 < 5ms", min_samples=1)])
    again = from_json(to_json(result))
    assert again == result
    (found,) = series.gates_in(again)
    assert (found.text, found.level) == ("hold.p99 < 5ms", "warn")
    assert verdicts.judge(found, again) == again.verdicts[0]
