"""Reads bpftrace's JSON lines as records: every dialect from 0.17 on, here and nowhere else."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from mmaplock_bt.result.rows import Bucket

E2BIG = -7  # of a helper that updates a map: the map is full
EFAULT = -14  # of a stack helper: the task has no such stack
EEXIST = -17  # of a helper that updates a map: another CPU made this key a moment before
_INTEGER = re.compile("true|false|-?[0-9]{1,20}|-?0x[0-9a-fA-F]{1,17}")
# A byte above 0x7f, sign-extended by 0.17 and later; behind an even number of backslashes.
_BYTES = re.compile(r"(?<!\\)((?:\\\\)*)((?:\\uffffff[89a-fA-F][0-9a-fA-F])+)")
# A pointer as 0.20 and 0.21 print it: bare, outside any string.
# A string that does not end is one match, too: else each of its quotes would be tried.
_POINTER = re.compile(r'("(?:[^"\\]|\\.)*+"?)|\b0x([0-9a-fA-F]{1,16})\b', re.DOTALL)
# The last bucket of hist() up to 0.19, which keeps 32 bits: 2^31 and all above.
_OVERFLOW = (-(2**31), 0)
# What a script may print beside its outputs: the text is in `data`, or in `msg` where bpftrace adds
# a place in the script.
_SAID = ("time", "cat", "join", "syscall", "value", "tseries", "errorf", "warnf", "runtime_error")


@dataclass(frozen=True)
class Attached:
    """How many probes bpftrace says it attaches."""

    probes: int


@dataclass(frozen=True)
class Printed:
    """One printf: its text up to the first bar, and the rest."""

    name: str
    rest: str


@dataclass(frozen=True)
class MapDump:
    """A map of integers as printed at the end, as (key, value); a scalar's key is ''."""

    name: str
    entries: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class TextDump:
    """A map whose values are no numbers: stacks, names."""

    name: str
    entries: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class HistDump:
    """A map of hist() or lhist(), as (key, buckets)."""

    name: str
    entries: tuple[tuple[str, tuple[Bucket, ...]], ...]


@dataclass(frozen=True)
class StatsDump:
    """A map of stats(), as (key, count, total)."""

    name: str
    entries: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Lost:
    """Records that the buffer had no room for, since the last such line."""

    events: int


@dataclass(frozen=True)
class HelperError:
    """A BPF helper that failed; `retcode` is a negative errno."""

    helper: str
    retcode: int


@dataclass(frozen=True)
class Said:
    """Anything else that bpftrace prints on purpose: print(), errorf(), a map of text."""

    kind: str
    text: str


@dataclass(frozen=True)
class Unparsed:
    """A line that could not be read."""

    text: str


Dump = MapDump | TextDump | HistDump | StatsDump
Record = Attached | Printed | Dump | Lost | HelperError | Said | Unparsed


def parse(lines: Iterable[str]) -> Iterator[Record]:
    """Yields at least one record for each line that is not blank. Never raises."""
    for line in lines:
        if not line.strip():
            continue
        try:
            # A list: a line that turns out wrong half-way yields nothing but Unparsed.
            yield from list(_records(_message(line))) or [Unparsed(line)]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            yield Unparsed(line)


def kind_of_error(helper: str, retcode: int) -> Literal["stack", "full", "raced", "other"]:
    """Returns what a helper's error means: a stack that is missing, a map that is full, a count
    that was lost because two CPUs met its key for the first time at once.

    count(), sum() and hist() of 0.23 make a key with BPF_NOEXIST (bpftrace issue 4068); 0.17, and
    0.24 and later (pull request 4074) with BPF_ANY, which on a map per CPU loses nothing.
    """
    if "stack" in helper:
        # EFAULT: kernel threads and exiting tasks have no user stack to lose
        return "stack" if retcode != EFAULT else "other"
    is_update = helper.startswith("map_update")
    if is_update and retcode == EEXIST:
        return "raced"
    return "full" if is_update or retcode == E2BIG else "other"


def integer(value: Any) -> int:
    """Reads an integer as any release writes it. Raises ValueError or TypeError.

    From 0.24 one that a double cannot hold is a string; from 0.25 a bool is true or false, in a key
    too; a pointer in a key is 0x... up to 0.21 and from 0.24.
    """
    if isinstance(value, str):
        if not _INTEGER.fullmatch(value):
            raise ValueError("no integer")
        value = int({"true": "1", "false": "0"}.get(value, value), 0)
    if not isinstance(value, int):
        raise TypeError("no integer")
    if not -(1 << 63) <= value <= 1 << 64:
        raise ValueError("more than 64 bits")
    return int(value)


class _Pairs(dict[str, Any]):
    """A JSON object that keeps keys given twice, as a map has that changed while it was printed."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


def _message(line: str) -> _Pairs:
    text = _whole_bytes(line)
    try:
        found = json.loads(text, object_pairs_hook=_Pairs)
    except ValueError:
        # Rare, and slow to look for: only where the line is no JSON as it is.
        if "0x" not in text:
            raise
        found = json.loads(_POINTER.sub(_decimal, text), object_pairs_hook=_Pairs)
    if not isinstance(found, _Pairs):
        raise TypeError("no object")
    return found


def _decimal(match: re.Match[str]) -> str:
    return match[1] or str(int(match[2], 16))


def _records(message: _Pairs) -> Iterator[Record]:
    kind = message["type"]
    if kind == "printf":
        name, _, rest = message["data"].removesuffix("\n").partition("|")
        yield Printed(name, rest)
    elif kind in ("map", "hist", "stats"):
        for name, value in message["data"].items():
            yield _dump(kind, name.removeprefix("@"), value)
    elif kind == "attached_probes":
        yield Attached(integer(message["data"]["probes"]))
    elif kind == "lost_events":
        yield Lost(integer(message["data"]["events"]))
    elif kind == "helper_error":
        yield HelperError(str(message["helper"]), integer(message["retcode"]))
    elif kind in _SAID:
        yield Said(kind, _text(message["msg"] if "msg" in message else message["data"]))


def _dump(kind: str, name: str, value: Any) -> Record:
    try:
        if kind == "hist":
            return HistDump(name, tuple((k, _buckets(v)) for k, v in _entries(value)))
        if kind == "stats":
            return StatsDump(name, tuple((k, *_stats(v)) for k, v in _stats_entries(value)))
        return MapDump(name, tuple((k, integer(v)) for k, v in _entries(value)))
    except (ValueError, TypeError):  # text, tuples, stacks; avg(), which comes as stats
        return TextDump(name, tuple((k, _text(v)) for k, v in _entries(value)))


def _entries(value: Any) -> list[tuple[str, Any]]:
    """A map's entries; a map without keys has a single one, ''."""
    return [(_key(k), v) for k, v in value.pairs] if isinstance(value, _Pairs) else [("", value)]


def _stats_entries(value: Any) -> list[tuple[str, Any]]:
    scalar = isinstance(value, _Pairs) and set(value) == {"count", "average", "total"}
    return [("", value)] if scalar else _entries(value)


def _stats(value: Any) -> tuple[int, int]:
    if not isinstance(value, _Pairs):
        raise TypeError("avg() tells neither count nor total")
    return integer(value["count"]), integer(value["total"])


def _buckets(value: Any) -> tuple[Bucket, ...]:
    return tuple(_bucket(item) for item in value)


def _bucket(item: _Pairs) -> Bucket:
    """No `min` means all below (hist), no `max` all above (lhist)."""
    ends = tuple(integer(item[end]) if end in item else None for end in ("min", "max"))
    low, high = (-_OVERFLOW[0], None) if ends == _OVERFLOW else ends
    return Bucket(low, high, integer(item["count"]))


def _key(key: str) -> str:
    """Undoes 0.22 and 0.23, which escape keys twice: a newline arrives as backslash and n.

    In other releases only a name that itself holds such an escape looks like that; no output has
    text in its keys, so nothing depends on it.
    """
    if "\\" not in key:
        return key
    try:
        return str(json.loads(f'"{_whole_bytes(key)}"'))
    except ValueError:
        return key


def _whole_bytes(text: str) -> str:
    r"""\uffffffc3\uffffffa9 -> é; bytes that are no UTF-8 become surrogates."""
    return _BYTES.sub(_decoded, text) if "\\uffffff" in text else text


def _decoded(match: re.Match[str]) -> str:
    return match[1] + bytes.fromhex(match[2].replace("\\uffffff", "")).decode(
        "utf-8", "surrogateescape"
    )


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.removesuffix("\n")
