"""Durations and sizes to integers, integers to short text, any text to what a terminal can bear."""

import re
from decimal import Decimal

from mmaplock_bt.errors import UsageError

NS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
BYTES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-zµ]*)")


def parse_duration(text: str) -> int:
    """'500us', '1.5s' -> ns. A bare number is refused: 5 what?"""
    return _parse(text, NS, "a duration with its unit, like 500us, 10ms or 1.5s")


def parse_size(text: str) -> int:
    """'512MiB' -> bytes."""
    return _parse(text, BYTES, "a size with its unit, like 64KiB or 512MiB")


def _parse(text: str, units: dict[str, int], wanted: str) -> int:
    match = _QUANTITY.fullmatch(text.strip())
    if match is None or match[2] not in units:
        if not (match and match[2] == "" and Decimal(match[1]) == 0):
            raise UsageError(f"'{text}' is not {wanted} (units: {', '.join(units)})")
        return 0
    value = Decimal(match[1]) * units[match[2]]
    if value != int(value) or value >= 2**63:
        raise UsageError(f"'{text}' is out of range or finer than the smallest unit")
    return int(value)


def format_ns(ns: int) -> str:
    """Three significant digits in the largest fitting unit: 1234567 -> '1.23 ms'."""
    for unit, scale in (("s", 10**9), ("ms", 10**6), ("µs", 10**3)):
        if abs(ns) >= scale:
            return f"{_three(ns / scale)} {unit}"
    return f"{ns} ns"


def format_value(value: int, unit: str) -> str:
    """A value in an output's own unit: times scaled, counts grouped."""
    if unit == "ns":
        return format_ns(value)
    return f"{value:,} {unit}".strip() if unit != "count" else f"{value:,}"


def _three(value: float) -> str:
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:,.{digits}f}"


def safe(value: object) -> str:
    """Text from outside made harmless: everything unprintable becomes an escape like \\x1b."""
    text = str(value)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
