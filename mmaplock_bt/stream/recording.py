"""The raw stream in a file: a header that says how to read it, a window's lines, a trailer."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mmaplock_bt.errors import UsageError
from mmaplock_bt.result.model import SCHEMA, ProfileInfo, TargetInfo, Tool
from mmaplock_bt.result.saved import declared
from mmaplock_bt.spec.outputs import Outputs
from mmaplock_bt.stream.records import Decoder, Record

TYPE = "mmaplock-bt"
MARK = f'{{"type": "{TYPE}"'
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
    probes: int
    books: list[str] | None = None  # which are counted; None, in older streams: all

    def line(self) -> str:
        """Writes the header as a line of JSON."""
        plain = {name: vars(getattr(self, name)) for name in ("profile", "target", "tool")}
        rest = {"start": self.start, "argv": self.argv, "probes": self.probes}
        rest["books"] = self.books
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
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise UsageError(f"{_NO_STREAM} ({place}: {first['msg']})") from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UsageError(_NO_STREAM) from error


def read(lines: Iterable[str]) -> tuple[Head, Iterator[Record]]:
    """Reads a raw stream: its header, and an iterator of its records. Raises UsageError."""
    stream = iter(lines)
    head = Head.parse(next(stream, ""))
    return head, Decoder(head.outputs).decode(stream)


def _without_defaults(output: dict[str, Any]) -> dict[str, Any]:
    """Schema 1 wrote every field of every kind of output, and models forbid others' fields."""
    return {k: v for k, v in output.items() if v not in (None, "", [], {}, False)}
