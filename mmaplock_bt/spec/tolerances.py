"""Tolerances, `METRIC:+10% and +100us`: how much worse a metric may get."""

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

from mmaplock_bt.errors import UsageError
from mmaplock_bt.spec import gates
from mmaplock_bt.spec.gates import GateFault, Metric
from mmaplock_bt.spec.outputs import Outputs
from mmaplock_bt.units import parse_duration

Value = TypeVar("Value")
_ITEM = re.compile(r"([+-]?)\s*([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*(%|[a-zµ]*)")
_WANTED = "expected +10%, +100us, or both: '+10% and +100us'; a minus where less is worse"


@dataclass(frozen=True)
class Tolerance:
    """How far a metric may move: both parts must be exceeded for it to count.

    `relative` is a share (1/10 for 10 %), `floor` is in the metric's unit (ns for times). `sign` is
    1 where more is worse, -1 where less is.
    """

    relative: Fraction = Fraction(0)
    floor: int = 0
    sign: int = 1

    def is_exceeded(self, base: float, new: float) -> bool:
        """Tells whether `new` is too far from `base` in the bad direction.

        From a base of 0 only the floor counts.
        """
        growth = self.sign * (new - base)
        return growth > self.floor and growth > float(self.relative) * abs(base)


@dataclass(frozen=True)
class Condition:
    """A --fail-on; `text` is as written."""

    text: str
    metric: Metric
    tolerance: Tolerance


def parse_condition(text: str, outputs: Outputs) -> Condition:
    """Reads `METRIC:TOLERANCE`. Raises GateFault with the fault's place."""
    if len(text) > gates.LONGEST:
        raise GateFault(f"longer than {gates.LONGEST:,} characters", gates.LONGEST)
    match = re.fullmatch(r"(.*):(\s*[+-]?\s*[0-9].*)", text)
    if match is None:
        raise GateFault("expected METRIC:TOLERANCE, like hold.p99:+10%", len(text))
    metric = gates.metric(match[1], outputs)
    try:
        tolerance = parse(match[2], metric.unit)
    except UsageError as error:
        raise GateFault(str(error), match.start(2)) from error
    return Condition(text.strip(), metric, tolerance)


def parse(text: str, unit: str | None = None) -> Tolerance:
    """Reads a tolerance like '+10% and +100us'. Raises UsageError.

    `unit` is the metric's, 'ns' or ''; None is for a tolerance of all metrics, whose floor is a
    time.
    """
    if len(text) > gates.LONGEST:
        raise UsageError(f"'{text.strip()}' is no tolerance: {_WANTED}")
    relative, floor, signs = None, None, set()
    for part in re.split(r",|\band\b", text):
        match = _ITEM.fullmatch(part.strip())
        if match is None:
            raise UsageError(f"'{text.strip()}' is not a tolerance: {_WANTED}")
        signs.add(-1 if match[1] == "-" else 1)
        if match[3] == "%":
            relative = _once(relative, Fraction(match[2]) / 100, text)
        else:
            floor = _once(floor, _floor(match[2], match[3], unit), text)
    if len(signs) != 1:
        raise UsageError(f"'{text.strip()}' goes both ways: {_WANTED}")
    return Tolerance(relative or Fraction(0), floor or 0, signs.pop())


def _once(before: Value | None, value: Value, text: str) -> Value:
    if before is not None:
        raise UsageError(f"'{text.strip()}' gives the same kind twice: {_WANTED}")
    return value


def _floor(number: str, suffix: str, unit: str | None) -> int:
    if unit in ("ns", None):
        return parse_duration(number + suffix)
    if suffix or "." in number:
        raise UsageError(f"'{number}{suffix}' is not a whole number")
    return int(number)
