"""bpftrace's JSON lines -> records. Every dialect from 0.17 on is read here and nowhere else."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

E2BIG = -7
EFAULT = -14
_BYTE = re.compile(r"(?<!\\)((?:\\\\)*)\\uffffff([89a-fA-F][0-9a-fA-F])")


@dataclass(frozen=True)
class Attached:
    probes: int


@dataclass(frozen=True)
class Printed:
    """One printf: its first word and the rest."""

    name: str
    rest: str


@dataclass(frozen=True)
class MapDump:
    """A whole map as printed at the end: (key, value); a scalar's key is ''."""

    name: str
    entries: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Lost:
    events: int


@dataclass(frozen=True)
class HelperError:
    helper: str
    retcode: int


@dataclass(frozen=True)
class Unparsed:
    text: str


Record = Attached | Printed | MapDump | Lost | HelperError | Unparsed


def parse(lines: Iterable[str]) -> Iterator[Record]:
    """Never raises: what cannot be read becomes Unparsed."""
    for line in lines:
        if not line.strip():
            continue
        try:
            yield from _records(json.loads(_repair(line), object_pairs_hook=_Pairs))
        except (ValueError, KeyError, TypeError, AttributeError):
            yield Unparsed(line)


class _Pairs(dict[str, Any]):
    """A JSON object that keeps keys given twice (a map that changed while printed does that)."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


def _records(message: _Pairs) -> Iterator[Record]:
    kind = message["type"]
    if kind == "printf":
        name, _, rest = message["data"].partition("|")
        yield Printed(name, rest.removesuffix("\n"))
    elif kind == "map":
        for name, value in message["data"].items():
            yield MapDump(name.removeprefix("@"), _entries(value))
    elif kind == "attached_probes":
        yield Attached(int(message["data"]["probes"]))
    elif kind == "lost_events":
        yield Lost(int(message["data"]["events"]))
    elif kind == "helper_error":
        yield HelperError(str(message["helper"]), int(message["retcode"]))
    elif kind not in ("time", "cat", "join", "value", "hist", "stats", "tseries"):
        yield Unparsed(json.dumps(message))


def _entries(value: Any) -> tuple[tuple[str, int], ...]:
    if not isinstance(value, _Pairs):
        return (("", _integer(value)),)
    return tuple((_key(key), _integer(item)) for key, item in value.pairs)


def _integer(value: Any) -> int:
    """From 0.24 integers that a double cannot hold are strings; booleans from 0.25."""
    return int(value, 0) if isinstance(value, str) else int(value)


def _key(key: str) -> str:
    """0.22 and 0.23 escape keys twice: a stack's line ends arrive as backslash and n."""
    return str(json.loads(f'"{key}"')) if "\\n" in key else key


def _repair(line: str) -> str:
    """From 0.17 a byte above 0x7f comes sign-extended, as \\uffffffXX: give it back as one byte."""
    if "\\uffffff" not in line:
        return line
    return _BYTE.sub(lambda match: f"{match[1]}\\udc{match[2].lower()}", line)
