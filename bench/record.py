"""What a run of the bench brought: its rounds as they were, and where. One JSON file."""

import json
import os
from pathlib import Path
from typing import Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Sample(_Frozen):
    """CPU time of one operation, of a system call without a lock beside it, and their ratio.

    Medians over batches. A CPU that is slower for a while (clock, a neighbour on the same core) is
    so for both: `relative` holds still where `ns` wanders by half.
    """

    batches: PositiveInt
    ns: PositiveFloat
    beside_ns: PositiveFloat
    relative: PositiveFloat


class Row(_Frozen):
    """A contender; the same `what` with another `by` (a bpftrace) shares its line."""

    name: str
    what: str
    by: str


class Turn(_Frozen):
    """A contender's part in a round: the victim just before it and under it, by scenario.

    `noise` says what makes it doubtful, `unrest` how far the untraced main scenario was from the
    run's best (0.1: a tenth); `attempts` counts it and those that were thrown away.
    """

    round: int
    name: str
    untraced: dict[str, Sample]
    traced: dict[str, Sample]
    noise: tuple[str, ...] = ()
    unrest: float = 0.0
    attempts: int = 1


class Record(_Frozen):
    """`refusals` has a sentence for each contender that did not trace."""

    schema_version: Literal[1] = 1
    environment: dict[str, str]
    quick: bool
    scenarios: tuple[str, ...]
    rows: tuple[Row, ...]
    turns: tuple[Turn, ...] = ()
    refusals: dict[str, str] = {}

    @model_validator(mode="after")
    def _turns_are_whole(self) -> "Record":
        for turn in self.turns:
            for samples in (turn.untraced, turn.traced):
                if missing := set(self.scenarios) - set(samples):
                    raise ValueError(f"{turn.name} has no sample of {', '.join(sorted(missing))}")
        return self


class UnreadableError(Exception):
    """A finished sentence: why a file is no record."""


def load(path: Path) -> Record:
    """Reads a record. Raises UnreadableError."""
    try:
        return Record.model_validate_json(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError(f"{path}: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise UnreadableError(f"{path}: {place}: {first['msg']}") from None


def text(record: Record) -> str:
    """As JSON, with a turn in a line."""
    head = json.dumps(record.model_dump(mode="json", exclude={"turns"}), indent=1)
    turns = ",\n".join(f"  {turn.model_dump_json()}" for turn in record.turns)
    return f'{head[:-2]},\n "turns": [\n{turns}\n ]\n}}\n'


def save(path: Path, content: str) -> None:
    """Writes a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_text(content, "utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
