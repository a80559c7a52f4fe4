"""Gates: the grammar, what an interval decides, and which keys a gate asks for."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmaplock_bt.errors import UsageError
from mmaplock_bt.spec import gates, profile
from tests.builders import gate

HOLD_TIMES = profile.load("hold-times").template.declaration.outputs
OPERATORS = {
    "<": int.__lt__,
    "<=": int.__le__,
    ">": int.__gt__,
    ">=": int.__ge__,
    "==": int.__eq__,
    "!=": int.__ne__,
}


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
        blame = profile.load("blame").template.declaration.outputs
        gates.parse("waited{owner_comm=x}.max < 5ms", blame)
