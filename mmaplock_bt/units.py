"""Reads and writes durations, sizes and counts."""

import re
import signal
from decimal import Decimal

from mmaplock_bt.errors import UsageError
from mmaplock_bt.escaping import shown

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
SAMPLE_MAX = 1 << 20
_SHARE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*%", re.ASCII)
# No more digits than a number of 64 bits has: what reads them takes the square of their number.
_QUANTITY = re.compile(r"([0-9]{1,19}(?:\.[0-9]{1,19})?)\s{0,9}([A-Za-zµ]{0,3})")
_WHOLE = re.compile(r"-?[0-9]{1,18}")


def parse_duration(text: str) -> int:
    """Reads a duration like '500us' or '1.5s' as ns.

    A number without a unit is refused, except 0. Raises UsageError.
    """
    return _parse(text, NS, "a duration with its unit, like 500us, 10ms or 1.5s")


def parse_size(text: str) -> int:
    """Reads a size like '512MiB' as bytes. Raises UsageError."""
    return _parse(text, BYTES, "a size with its unit, like 64KiB or 512MiB")


def parse_whole(text: str) -> int:
    """Reads a whole number of up to 18 digits, 0 to 9 and no others. Raises UsageError."""
    if not _WHOLE.fullmatch(text):
        raise UsageError(f"'{shown(text)}' is not a whole number")
    return int(text)


def parse_sample(text: str) -> int:
    """Reads a share like '1/16' as the 16 of which one is followed. Raises UsageError."""
    match = re.fullmatch(r"1\s{0,9}/\s{0,9}([0-9]{1,7})", text.strip())
    if match is None or not 1 <= int(match[1]) <= SAMPLE_MAX:
        wanted = f"a share 1/N, like 1/16, with N from 1 to {SAMPLE_MAX:,}"
        raise UsageError(f"'{shown(text)}' is not {wanted}")
    return int(match[1])


def parse_share(text: str) -> int:
    """Reads a share above 0 and up to 100 %, like '2%', as millionths. Raises UsageError."""
    match = _SHARE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"'{shown(text)}' is not a share with its %, like 2% or 0.5%")
    ppm = Decimal(match[1]) * 10**4
    if not 0 < ppm <= 10**6:
        raise UsageError(f"'{shown(text)}' is not above 0 % and at most 100 %")
    if ppm != int(ppm):
        raise UsageError(f"'{shown(text)}' is finer than 0.0001 %")
    return int(ppm)


def _parse(text: str, units: dict[str, int], wanted: str) -> int:
    match = _QUANTITY.fullmatch(text.strip())
    if match is None or match[2] not in units:
        if not (match and match[2] == "" and Decimal(match[1]) == 0):
            raise UsageError(f"'{shown(text)}' is not {wanted} (units: {', '.join(units)})")
        return 0
    # Decimal: in floats 1.005s would be 1,004,999,999 ns.
    value = Decimal(match[1]) * units[match[2]]
    if value != int(value) or value >= 2**63:
        raise UsageError(f"'{shown(text)}' is out of range or finer than the smallest unit")
    return int(value)


def format_ns(ns: int) -> str:
    """Writes ns in the largest fitting unit, three significant digits: 1234567 -> '1.23 ms'."""
    for unit, scale in (("s", 10**9), ("ms", 10**6), ("µs", 10**3)):
        if abs(ns) * 2000 >= scale * 1999:  # what would be written 1,000 of the smaller unit
            return f"{_three(ns / scale)} {unit}"
    return f"{ns} ns"


def format_value(value: int, unit: str) -> str:
    """Writes an integer in its output's unit: times scaled, counts with thousands grouped."""
    if unit == "ns":
        return format_ns(value)
    return f"{value:,} {unit}".strip() if unit != "count" else f"{value:,}"


def counted(count: int, what: str) -> str:
    """Writes a number with its noun: '1 run', '1,234 runs'."""
    return f"{count:,} {what}{'s' * (count != 1)}"


def how_ended(status: int | None) -> str:
    """Writes how a process ended by its exit status, a signal as its negative number.

    None is one that had not ended: 'status 3', 'killed by SIGKILL', 'still running'.
    """
    if status is None:
        return "still running"
    if status >= 0:
        return f"status {status}"
    known = {number.value for number in signal.Signals}
    name = signal.Signals(-status).name if -status in known else f"signal {-status}"
    return f"killed by {name}"


def _three(value: float) -> str:
    digits = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:,.{digits}f}"
