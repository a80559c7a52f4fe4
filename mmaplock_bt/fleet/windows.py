"""A result as one row of the table of windows: plain values that every database takes."""

import datetime
from collections.abc import Iterator
from typing import Any

from mmaplock_bt.errors import UsageError
from mmaplock_bt.escaping import plain
from mmaplock_bt.judging.comparability import KINDS
from mmaplock_bt.result.buckets import SUB_BUCKET_BITS, merged, upper
from mmaplock_bt.result.loss import missing
from mmaplock_bt.result.model import EventsData, HistogramData, Result, TableData
from mmaplock_bt.result.rows import Bucket, HistogramRow, TableRow, column

LOST = ("lost_events", "missed_events", "map_full", "stack_errors", "unparsed_lines")
# Each column with its type in DuckDB, in Parquet the same. One row is one window.
COLUMNS = {
    "host": "VARCHAR", "file": "VARCHAR",
    "start": "TIMESTAMP",  # UTC
    "duration_ns": "BIGINT",
    "profile": "VARCHAR", "params": "VARCHAR", "traced": "VARCHAR", "locks": "VARCHAR",
    "sample": "BIGINT", "kernel": "VARCHAR", "cpus": "BIGINT",
    "complete": "BOOLEAN", "missing": "VARCHAR", **dict.fromkeys(LOST, "BIGINT"),
    "waited_ns": "BIGINT", "longest_wait_ns": "BIGINT", "longest_hold_ns": "BIGINT",
    "histograms": "STRUCT(output VARCHAR, mode VARCHAR, unit VARCHAR, count BIGINT, sum BIGINT, "
    "max BIGINT, buckets STRUCT(low BIGINT, high BIGINT, n BIGINT)[])[]",
    "blame": "STRUCT(victim VARCHAR, culprit VARCHAR, cause VARCHAR, count BIGINT, sum BIGINT, "
    "max BIGINT)[]",
}  # fmt: skip
Row = dict[str, Any]
LETTERS = 300  # of a name; a thread's has 15
PAIRS = 1000  # of blame that a window keeps
HISTOGRAMS = 200  # outputs times modes
_FIGURES = ("count", "sum", "max")
_HOLD, _WAIT = "hold", "wait"  # histograms of these names; README and gates call them so
_OF_NOBODY = ("charged", "met nobody")  # of `charged`: in the table of culprits, or no waiting


def row(result: Result, host: str, file: str) -> Row:
    """Returns a window's row. Raises UsageError for numbers that no window has."""
    histograms, other = _histograms(result)
    tables = _tables(result)
    blame = _blame(*tables) if any(tables) else None
    lacks = [missing(result), *(table.lacks for table in tables if table)]
    lacks += [f"buckets of {name} are not this tool's: left out" for name in other]
    if blame is not None and len(blame) > PAIRS:
        lacks.append(f"of {len(blame):,} pairs of blame the first {PAIRS:,} kept")
    found = {
        **_window(result, host, file),
        "complete": result.loss.complete and not any(lacks),
        "missing": ", ".join(filter(None, lacks)),
        **{name: getattr(result.loss, name) or 0 for name in LOST},
        "waited_ns": None if blame is None else sum(one["sum"] for one in blame),
        "longest_wait_ns": max([*_longest(result, _WAIT), *_maxima(blame)], default=None),
        "longest_hold_ns": max(_longest(result, _HOLD), default=None),
        "histograms": histograms,
        "blame": (blame or [])[:PAIRS],
    }
    made = {name: _text(value) for name, value in found.items()}
    _check(made)
    return made


def _window(result: Result, host: str, file: str) -> Row:
    return {
        "host": host, "file": file, "start": _utc(result.window.start),
        "duration_ns": result.window.duration_ns, "profile": result.profile.name,
        "params": _told(result.profile.params), "traced": _traced(result),
        "locks": result.profile.locks, "sample": result.profile.sample,
        "kernel": result.target.kernel, "cpus": result.target.cpus,
    }  # fmt: skip


def _utc(text: str) -> datetime.datetime | None:
    """None where it is no moment."""
    try:
        return datetime.datetime.fromisoformat(text).astimezone(datetime.UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None


def _traced(result: Result) -> str:
    """What was followed, in words; empty where that was everything."""
    whose = KINDS["traced"](result)
    filters = _told(KINDS["filter"](result))
    return ", ".join(part for part in (filters, whose) if part and part != "every process")


def _told(found: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}".strip() for name, value in sorted(found.items()))


def _histograms(result: Result) -> tuple[list[Row], list[str]]:
    """One for each output and mode, and the names of those with buckets of another kind."""
    found: list[Row] = []
    other: list[str] = []
    for name, output in result.outputs.items():
        if not isinstance(output, HistogramData):
            continue
        if not all(_is_own(one) for each in output.rows for one in each["buckets"]):
            other.append(name)
            continue
        modes: dict[str, list[HistogramRow]] = {}
        for each in output.rows:
            modes.setdefault(each["key"].get("mode") or "", []).append(each)
        found += [_histogram(name, mode, output.unit, rows) for mode, rows in modes.items()]
        if len(found) > HISTOGRAMS:
            raise UsageError(f"no window has more than {HISTOGRAMS} histograms by mode")
    return found, other


def _is_own(bucket: Bucket) -> bool:
    """Whether it is one of those that the scripts fill: then no two of any host overlap."""
    low, high, _ = bucket
    if low is None or low < 0:
        return False
    shift = max(0, low.bit_length() - 1 - SUB_BUCKET_BITS)
    return low >> shift << shift == low and high == upper(low)


def _histogram(output: str, mode: str, unit: str, rows: list[HistogramRow]) -> Row:
    one = merged(rows, {"mode": mode})
    buckets = [bucket._asdict() for bucket in one["buckets"] if bucket.n]
    figures = {name: column(one, name) for name in _FIGURES}
    return {"output": output, "mode": mode, "unit": unit, **figures, "buckets": buckets}


def _tables(result: Result) -> tuple[TableData | None, TableData | None]:
    """Who waited for whom, and what no hold explains. Any template may declare such.

    So they are known by their keys.
    """
    return (
        _keyed(result, {"victim", "culprit"}, set()),
        _keyed(result, {"victim", "charged"}, {"culprit"}),
    )


def _keyed(result: Result, these: set[str], but: set[str]) -> TableData | None:
    for output in result.outputs.values():
        keys = set(output.keys)
        if isinstance(output, TableData) and these <= keys and not but & keys:
            return output
    return None


def _blame(culprits: TableData | None, rest: TableData | None) -> list[Row]:
    """Who waited for whom and why; without a culprit what no hold explains."""
    charged = (
        [one for one in culprits.rows if _charged(one) in (None, "charged")] if culprits else []
    )
    others = [one for one in rest.rows if _charged(one) not in _OF_NOBODY] if rest else []
    return [_pair(one, "cause") for one in charged] + [_pair(one, "charged") for one in others]


def _charged(found: TableRow) -> Any:
    return column(found["key"], "charged")


def _pair(found: TableRow, why: str) -> Row:
    key = found["key"]
    names = {"victim": key.get("victim"), "culprit": key.get("culprit"), "cause": column(key, why)}
    return names | {"count": found["count"], "sum": found["sum"] or 0, "max": found["max"]}


def _maxima(blame: list[Row] | None) -> Iterator[int]:
    yield from (one["max"] for one in blame or [] if one["max"] is not None)


def _longest(result: Result, what: str) -> Iterator[int]:
    """The longest of all holds or waits that are told, those that had not ended, too."""
    for name, output in result.outputs.items():
        if isinstance(output, HistogramData) and name == what:
            yield from (one["max"] for one in output.rows if one["max"] is not None)
        if isinstance(output, EventsData):
            yield from (ns for one in output.rows if (ns := _ns(one, what)) is not None)


def _ns(event: Any, what: str) -> int | None:
    is_open = (event.get("state") or "").startswith(what)
    found: int | None = event.get("age_ns" if is_open else f"{what}_ns")
    return found


def _text(value: Any) -> Any:
    """Texts, however deep, as UTF-8 of bounded length."""
    if isinstance(value, str):
        return plain(value[:LETTERS])
    if isinstance(value, dict):
        return {name: _text(inner) for name, inner in value.items()}
    return [_text(inner) for inner in value] if isinstance(value, list) else value


def _check(value: Any) -> None:
    """Raises UsageError for a number below 0 or beyond 63 bits, however deep."""
    if isinstance(value, int) and not 0 <= value < 1 << 63:
        raise UsageError(f"no window has such a number: {value}")
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inner:
        _check(one)
