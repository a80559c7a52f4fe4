"""The blocks of templates as functions: what they compute, and what is refused by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmaplock_bt.script import blocks
from mmaplock_bt.script.blocks import Unserved

NUMBERS = st.integers(0, 2**64 - 1)


def recorded(text, **values):
    told = []
    block = blocks.parse(text, lambda name, value, _: told.append((name, value)))
    block.run(dict(values))
    return told


@pytest.mark.parametrize(
    ("hold_ns", "expected"),
    [(9, [("short", 9), ("all", 9)]), (10, [("long", 0), ("all", 10)])],
)
def test_an_if_with_else_records_one_of_two(hold_ns, expected):
    text = """
    // The duration first.
    if ($hold_ns >= 10) {
      record(long, 0);
    } else {
      if ($hold_ns < 10) { record(short, $hold_ns); }
    }
    record(all, $hold_ns);
    """
    assert recorded(text, hold_ns=hold_ns) == expected


def test_an_own_value_and_else_if():
    text = """$x = (uint64)0;
    if ($a == 1) { $x = 5; } else if ($a == 2) { $x = $a << 3; }
    record(r, $x);"""
    assert [recorded(text, a=a) for a in (1, 2, 3)] == [[("r", 5)], [("r", 16)], [("r", 0)]]


@given(NUMBERS, NUMBERS, st.integers(0, 63))
def test_arithmetic_is_that_of_64_bits_without_a_sign(a, b, shift):
    def value(text):
        return blocks.expression(text)({"a": a, "b": b})

    assert value("$a + $b") == (a + b) % 2**64
    assert value("$a - $b") == (a - b) % 2**64
    assert value("$a * $b / 3") == (a * b % 2**64) // 3
    assert value("$a / $b") == (a // b if b else 0)
    assert value(f"$a << {shift}") == (a << shift) % 2**64
    assert value("$a & $b | 1") == (a & b) | 1
    assert value("!($a == $b) && $a != 0 || $b > 7") == int((a != b and bool(a)) or b > 7)
    assert value("$a == $b | 0") == int(a == b)  # & and | bind less than ==, as in C


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("@x[$tid] = 1;", "@x"),
        ("kstack(3);", "kstack"),
        ("record(r, ((struct mm_struct *)$mm)->owner);", "struct"),
        ('printf("x");', "printf"),
        ("record(r, (uint8)$a);", "uint8"),
        ("if ($a) { record(r, 1);", "ends too soon"),
        ("{" * 60, "deep"),
        ("record(r, " + "(" * 60 + "1);", "deep"),
    ],
)
def test_what_asks_the_kernel_something_is_refused_by_name(text, named):
    with pytest.raises(Unserved, match=named.replace("(", r"\(")):
        blocks.parse(text)


@given(st.text(alphabet="$ab01 ()<>=!&|;{}ifelsrcod,@\n/*+-", max_size=80))
def test_any_text_is_a_block_or_refused(text):
    try:
        blocks.parse(text)
    except Unserved:
        return
