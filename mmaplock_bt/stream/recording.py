"""The raw stream in a file: a header that says how to read it, a window's lines, a trailer."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TextIO

from pydantic import TypeAdapter, ValidationError

from mmaplock_bt.errors import UsageError
from mmaplock_bt.result.model import SCHEMA, ProfileInfo, TargetInfo, Tool
from mmaplock_bt.result.rows import Count
from mmaplock_bt.result.saved import declared
from mmaplock_bt.spec.findings import CalmRule, FindingRule
from mmaplock_bt.spec.outputs import Outputs

TYPE = "mmaplock-bt"
MARK = f'{{"type": "{TYPE}"'
READ = 1 << 18  # characters at a time: what a CPU keeps near
LONGEST = 16 << 20  # no line of bpftrace's is: its maps are bounded
_NO_STREAM = "no raw stream of mmaplock-bt: the first line is no header"


@dataclass(frozen=True)
class Head:
    """The first line of a raw stream: all that is needed to analyse the rest."""

    profile: ProfileInfo
    target: TargetInfo
    tool: Tool
    start: str
    argv: list[str] | None
    outputs: Outputs
    probes: Count
    books: list[str] | None = None  # which are counted; None, in older streams: all
    findings: list[FindingRule] = field(default_factory=list)
    calm: list[CalmRule] = field(default_factory=list)

    def line(self) -> str:
        """Writes the header as a line of JSON."""
        plain = {name: vars(getattr(self, name)) for name in ("profile", "target", "tool")}
        rest: dict[str, Any] = {"start": self.start, "argv": self.argv, "probes": self.probes}
        rest["books"] = self.books
        for name in ("findings", "calm"):
            rest[name] = [one.model_dump(exclude_defaults=True) for one in getattr(self, name)]
        outputs = {"outputs": declared(self.outputs)}
        return json.dumps({"type": TYPE, "schema": SCHEMA, **plain, **rest, **outputs})

    @classmethod
    def parse(cls, line: str) -> "Head":
        """Reads a header of schema 1 or 2. Raises UsageError for anything else."""
        try:
            told = json.loads(line)
            if told.pop("type") != TYPE or told.pop("schema") not in (1, SCHEMA):
                raise UsageError(_NO_STREAM)
            told["outputs"] = {n: _without_defaults(o) for n, o in told["outputs"].items()}
            return TypeAdapter(cls).validate_python(told)
        except ValidationError as error:
            first = error.errors(include_input=False, include_context=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise UsageError(f"{_NO_STREAM} ({place}: {first['msg']})") from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UsageError(_NO_STREAM) from error


def lines(file: TextIO) -> Iterator[str]:
    """Yields a file's lines without their ends; one that is longer than LONGEST comes in pieces.

    Only at \\n, where splitlines() cuts at U+2028 too.
    """
    begun: list[str] = []  # pieces of a line: added to one text they would take a square of time
    length = 0
    while text := file.read(READ):
        first, *further = text.split("\n")
        begun.append(first)
        length += len(first)
        if further:
            yield "".join(begun)
            *whole, rest = further
            yield from whole
            begun, length = [rest], len(rest)
        if length > LONGEST:
            yield "".join(begun)
            begun, length = [], 0
    if length:
        yield "".join(begun)


def read(lines: Iterable[str]) -> tuple[Head, Iterator[str]]:
    """Reads a raw stream's header; returns it and the lines behind it. Raises UsageError."""
    stream = iter(lines)
    return Head.parse(next(stream, "")), stream


def _without_defaults(output: dict[str, Any]) -> dict[str, Any]:
    """Schema 1 wrote every field of every kind of output, and models forbid others' fields."""
    return {k: v for k, v in output.items() if v not in (None, "", [], {}, False)}
