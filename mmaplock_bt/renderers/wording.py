"""Verdicts in words, the same in every report; plain text, for each format to escape."""

from mmaplock_bt.result.model import Verdict
from mmaplock_bt.units import format_ns


def told(said: Verdict) -> str:
    """Writes 'fail (warn): observed 3.67 ms, limit < 1.00 ms, 1 sample', and the reason."""
    level = " (warn)" if said.level == "warn" else ""
    return f"{said.outcome}{level}: {explained(said)}"


def explained(said: Verdict) -> str:
    """Writes what was observed, and the reason where there is one."""
    return f"{observed(said)}: {said.reason}" if said.reason else observed(said)


def observed(said: Verdict) -> str:
    """Writes 'observed 3.67 ms–3.93 ms, limit < 5.00 ms, 1,234 samples'."""
    samples = f"{said.samples:,} sample{'s' * (said.samples != 1)}"
    return f"observed {interval(said)}, limit {limit(said)}, {samples}"


def limit(said: Verdict) -> str:
    """Writes operator and limit: '< 5.00 ms'."""
    return f"{said.operator} {_value(said, said.limit)}"


def interval(said: Verdict) -> str:
    """Writes the observed interval: '3.67 ms–3.93 ms', '≥ 3.67 ms' or 'nothing'."""
    low, high = said.observed
    if low is None and high is None:
        return "nothing"
    if low == high and low is not None:
        return _value(said, low)
    if low is None or high is None:
        end = high if low is None else low
        return f"{'≤' if low is None else '≥'} {_value(said, end or 0)}"
    return f"{_value(said, low)}–{_value(said, high)}"


def _value(said: Verdict, value: int) -> str:
    if said.unit == "ns":
        return format_ns(value)
    if said.unit == "permille":
        return f"{value / 10:+.1f} %"
    return f"{value:,}{said.unit if said.unit == '/s' else f' {said.unit}'.rstrip()}"
