"""Tolerances: how much worse may be."""

from fractions import Fraction

import pytest

from mmaplock_bt.errors import UsageError
from mmaplock_bt.spec import tolerances
from mmaplock_bt.spec.gates import GateFault
from mmaplock_bt.spec.tolerances import Tolerance
from tests.builders import LONG_HOLDS


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("+10%", "ns", Tolerance(Fraction(1, 10), 0, 1)),
        ("10%", "", Tolerance(Fraction(1, 10), 0, 1)),
        ("+10% and +100us", "ns", Tolerance(Fraction(1, 10), 100_000, 1)),
        ("+100us,+2.5%", "ns", Tolerance(Fraction(1, 40), 100_000, 1)),
        ("-5", "", Tolerance(Fraction(0), 5, -1)),
        ("+1us", None, Tolerance(Fraction(0), 1000, 1)),
    ],
)
def test_tolerances(text, unit, expected):
    assert tolerances.parse(text, unit) == expected


@pytest.mark.parametrize(
    "text",
    ["", "ten", "+10", "+10% and", "+10% -5us", "+10% and -5us", "+1% and +2%", "+5 parsecs"],
)
def test_wrong_tolerances(text):
    with pytest.raises(UsageError):
        tolerances.parse(text, "ns")


@pytest.mark.parametrize(
    ("text", "offset"),
    [("hold.p99", 8), ("hold.p98:+10%", 5), ("hold.p99:+10", 9), ("held.p99:+1%", 0)],
)
def test_faults_of_a_condition_say_where(text, offset):
    with pytest.raises(GateFault) as caught:
        tolerances.parse_condition(text, LONG_HOLDS)
    assert caught.value.offset == offset


def test_a_colon_in_a_name_is_no_tolerance():
    found = tolerances.parse_condition("long_holds{comm=kworker/0:1}.count:+10%", LONG_HOLDS)
    assert found.metric.where == (("comm", "kworker/0:1"),)
