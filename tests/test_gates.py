"""Gates: the grammar, what they say of a result, of several, and of nothing."""

from dataclasses import replace
from fractions import Fraction
from statistics import median_high, median_low

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmaplock_bt.commands.run as run_command
from mmaplock_bt.analysis import rows
from mmaplock_bt.errors import BpftraceError, UsageError
from mmaplock_bt.judging import series, verdicts
from mmaplock_bt.result.model import Command, OutputData, Result, from_json, to_json
from mmaplock_bt.spec import budget, declaration, gates, profile
from tests.test_analysis import bucketed, made

OUTPUTS = profile.load("long-holds").template.declaration.outputs
HOLD_TIMES = profile.load("hold-times").template.declaration.outputs
OPERATORS = {
    "<": int.__lt__,
    "<=": int.__le__,
    ">": int.__gt__,
    ">=": int.__ge__,
    "==": int.__eq__,
    "!=": int.__ne__,
}


def run(*values: int, acquires: int = 1000, events: int = 0, **loss: object) -> Result:
    """A result with these write holds (ns) in a window of 2 s."""
    buckets = bucketed(list(values))
    top = max(values, default=0)
    found = {
        "key": {"mode": "write"},
        "count": len(values),
        "sum": sum(values),
        "max": top,
        "buckets": buckets,
        "quantiles": {
            name: rows.quantile(buckets, len(values), top, *rank)
            for name, rank in rows.QUANTILES.items()
        },
    }
    base = made(
        {
            "hold": OutputData("histogram", "H", "ns", ["mode"], [found] if values else []),
            "long_holds": OutputData(
                "events", "L", "ns", ["hold_ns", "cause"], [{"hold_ns": 7, "cause": "x"}] * events
            ),
        }
    )
    return replace(
        base,
        window=replace(base.window, duration_ns=2 * 10**9),
        books=replace(base.books, starts=acquires, acquires=acquires),
        loss=replace(base.loss, **({"complete": not loss} | loss)),
    )


def gate(text: str, **more) -> gates.Gate:
    return gates.parse(text, OUTPUTS, **more)


def said(text: str, result: Result, **more):
    return verdicts.judge(gate(text, **more), result)


@pytest.mark.parametrize(
    ("text", "limit", "unit"),
    [
        ("hold{mode=write}.p99 < 5ms", 5_000_000, "ns"),
        ("long_holds.count == 0", 0, ""),
        ("hold{mode=write}.rate < 2000/s", 2000, ""),
        (" hold.p99.9<=1.5s ", 1_500_000_000, "ns"),
        ('long_holds{comm="a,b}=", cause=exec}.max(hold_ns) != 0', 0, "ns"),
        ("books.residue == 0", 0, ""),
        ("loss.lost_events < 1", 1, ""),
    ],
)
def test_the_grammar(text, limit, unit):
    parsed = gate(text)
    assert (parsed.limit, parsed.metric.unit) == (limit, unit)
    assert parsed.text == text.strip()
    assert gate(parsed.text) == parsed


def test_quoted_values_are_exact():
    assert dict(gate('long_holds{comm="a,b}=", mode=read}.count < 1').metric.where) == {
        "comm": "a,b}=",
        "mode": "read",
    }


@pytest.mark.parametrize(
    ("text", "offset", "sentence"),
    [
        ("hold{mode=write}.p98 < 5ms", 17, "'p98' is unknown, allowed: count, rate"),
        ("hold{mode=wrote}.p99 < 5ms", 5, "'wrote' is unknown, allowed: read, write"),
        ("hold{uid=3}.p99 < 5ms", 5, "'uid' is unknown"),
        ("hold.p99 < 5", 11, "unit"),
        ("hold.p99 < 5ms or so", 11, "unit"),
        ("hold.count < 5ms", 13, "whole number"),
        ("hold.rate < 5/m", 12, "whole number"),
        ("held.p99 < 5ms", 0, "no output 'held', allowed: long_holds"),
        ("hold.p99 = 5ms", 8, "one of <"),
        ("hold.p99", 8, "one of <"),
        ("hold < 5ms", 4, "'.FIELD'"),
        ("", 0, "the name of an output"),
        ("loss.complete == 1", 5, "'complete' is unknown"),
        ("books{mode=read}.starts > 1", 6, "no keys"),
        ("long_holds.max(comm) < 5ms", 15, "'comm' is unknown"),
        ("long_holds{pid=mysqld}.count == 0", 11, "pid is a whole number"),
    ],
)
def test_faults_say_where_and_what_is_allowed(text, offset, sentence):
    with pytest.raises(gates.GateFault, match=r"(?s).*") as caught:
        gate(text)
    assert caught.value.offset == offset
    assert sentence in str(caught.value)


@given(st.text(max_size=40))
def test_no_text_breaks_the_parser(text):
    try:
        gate(text)
    except UsageError as fault:
        assert "\n" not in str(fault) or "\n" in text


@given(st.sampled_from(list(OPERATORS)), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_a_decision_holds_for_everything_in_the_interval(operator, limit, one, other):
    low, high = sorted((one, other))
    truths = {OPERATORS[operator](value, limit) for value in range(low, high + 1)}
    decided = gates.decide(operator, low, high, limit)
    if decided != "undecided":
        assert truths == {decided == "pass"}
    else:  # whole numbers in between may all agree where the ends are shared by others
        assert len(truths) == 2


@given(st.sampled_from(list(OPERATORS)), st.integers(0, 9), st.integers(0, 9))
def test_an_open_end_never_decides_what_it_does_not_know(operator, limit, end):
    for low, high in ((None, end), (end, None), (None, None)):
        decided = gates.decide(operator, low, high, limit)
        for far in (0, 10**6):
            value = far if low is None and high is None else end
            beyond = min(value, far) if low is None else max(value, far)
            if decided != "undecided":
                assert OPERATORS[operator](beyond, limit) == (decided == "pass")


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
        ("long_holds{cause=x}.count == 0", run(5, stack_errors=1), "stacks missing"),
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
    unread = replace(result, books=replace(result.books, starts=None))
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


@pytest.mark.parametrize(
    ("text", "status", "died", "code"),
    [
        ("hold.p99 < 1s", 0, False, 0),
        ("hold.p99 < 1s", 7, False, 6),
        ("hold.p99 < 1ns", 7, False, 1),
        ("hold{mode=read}.p99 < 1s", 7, False, 5),
        ("hold{mode=read}.p99 < 1s", 7, True, 5),
        ("warn: hold.p99 < 1ns", 0, False, 0),
        ("warn: hold.p99 < 1ns", 7, True, 4),
    ],
)
def test_the_exit_code_of_a_run(text, status, died, code, capsys):
    """A gate's before bpftrace's death, that before the command's."""
    base = run(5)
    ran = replace(base, window=replace(base.window, command=Command(["x"], status)))
    death = BpftraceError("bpftrace ended") if died else None
    try:
        assert run_command.ended(series.judged([ran], [gate(text)]), death) == code
    except BpftraceError as error:
        assert error is death and code == error.exit_code
    assert ("bpftrace ended" in capsys.readouterr().err) == (died and code == 5)


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


BUDGET = """\
description: what the team agreed on
gates:
  - hold{mode=write}.p99 < 5ms
  - warn: long_holds.count == 0
    min_samples: 100
  - error: "hold.max <= 50ms"
"""


def test_a_budget(tmp_path):
    path = tmp_path / "budget.yaml"
    path.write_text(BUDGET)
    found = budget.load(str(path), OUTPUTS)
    assert [(g.level, g.min_samples, g.limit) for g in found] == [
        ("error", 1, 5_000_000),
        ("warn", 100, 0),
        ("error", 1, 50_000_000),
    ]
    assert [(g.source.file, g.source.line, g.source.column) for g in found] == [
        (str(path), line, 5) for line in (3, 4, 6)
    ]


WRONG = """\
gates:
  - hold{mode=write}.p98 < 5ms
  - warn: hold.p99 < 5
  - error: "hold.max <= 5 parsecs"
  - warn: hold.max < 5ms
    error: hold.max < 5ms
  - error: hold.max < 5ms
    min_samples: 0
  - 5
  - fatal: hold.max < 5ms
"""


def test_every_fault_of_a_budget_with_line_and_column(tmp_path):
    path = tmp_path / "budget.yaml"
    path.write_text(WRONG)
    with pytest.raises(UsageError) as caught:
        budget.load(str(path), OUTPUTS)
    lines = str(caught.value).removeprefix(f"{path}:").split(f"\n{path}:")
    assert [line.split(" ")[0] for line in lines] == ["5:5:", "7:5:", "9:5:", "10:5:"]
    path.write_text("\n".join(WRONG.splitlines()[:4]))
    with pytest.raises(UsageError) as caught:
        budget.load(str(path), OUTPUTS)
    lines = str(caught.value).removeprefix(f"{path}:").split(f"\n{path}:")
    assert [line.split(" ")[0] for line in lines] == ["2:22:", "3:22:", "4:25:"]


def test_a_gate_against_the_filter_is_wrong_usage():
    chosen = replace(profile.load("hold-times"), filter=profile.Filter(mode="read"))
    with pytest.raises(UsageError, match="never see a sample"):
        profile.with_gates(chosen, (gates.parse("hold{mode=write}.p99 < 5ms", HOLD_TIMES),))


def test_an_optional_key_is_filled_where_a_gate_names_it():
    plain = profile.load("wait-times")
    found = gates.parse(
        "wait{mode=read,owner_comm=mysqld}.max <= 50ms", plain.template.declaration.outputs
    )
    split = profile.with_gates(plain, (found,))
    outputs = split.template.declaration.outputs
    assert outputs["wait"].keys == ["mode", "owner_pid"]
    assert outputs["owners"] == plain.template.declaration.outputs["owners"]
    assert plain.template.declaration.outputs["wait"].keys == ["mode"]
    with pytest.raises(UsageError, match="'owner_comm' is unknown"):
        gates.parse("hold{owner_comm=x}.max < 5ms", OUTPUTS)


def test_optional_keys_are_integers():
    with pytest.raises(UsageError, match="integers only"):
        declaration.parse(
            "{#\nquestion: q\noutputs: {x: {kind: counter, title: t, optional_keys: [comm]}}\n#}",
            "x",
            "x.bt.j2",
        )
