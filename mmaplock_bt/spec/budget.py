"""Lists of gates in YAML: a profile's own, and budget files kept beside the code."""

from pathlib import Path
from typing import Any

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from mmaplock_bt.spec import gates, located_yaml, plain_yaml, user_file
from mmaplock_bt.spec.gates import Gate, GateFault, Level, Source
from mmaplock_bt.spec.outputs import Outputs, Strict
from mmaplock_bt.spec.plain_yaml import Document


class GateItem(Strict):
    """A gate's text alone, or under `error:` or `warn:` with `min_samples` beside it."""

    error: str | None = Field(None, description="a gate that fails the run")
    warn: str | None = Field(None, description="a gate that is only told")
    min_samples: int = Field(1, description="on fewer samples it is inconclusive")

    @model_validator(mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        if not isinstance(value, str | dict):
            raise ValueError("a gate is a text like 'hold{mode=write}.p99 < 5ms'")
        return {"error": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_level(self) -> "GateItem":
        if (self.error is None) == (self.warn is None):
            raise ValueError("a gate stands under `error:` or `warn:`, one of the two")
        if self.min_samples < 1:
            raise ValueError("min_samples is at least 1: a gate never passes on nothing")
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, handler(core)]}


class BudgetFile(Strict):
    """A budget file's shape; `schema budget` prints it as JSON Schema."""

    description: str = Field("", description="what it is for")
    gates: list[GateItem] = Field(description="conditions on the result")


def load(path: str, outputs: Outputs) -> tuple[Gate, ...]:
    """Reads a budget file's gates on these outputs.

    Raises UsageError that lists every fault as file:line:column.
    """
    source = plain_yaml.load(user_file.read(Path(path), "budget"), path)
    file = located_yaml.check(source, BudgetFile)
    found = gates_of(file.gates, source, outputs) if file else ()
    source.raise_faults()
    return found


def check_syntax(items: list[GateItem], source: Document) -> None:
    """Notes in `source` what is wrong with gates whatever the outputs are."""
    for index, item in enumerate(items):
        try:
            gates.check_syntax(item.error or item.warn or "")
        except GateFault as fault:
            source.fault(("gates", index), str(fault), fault.offset)


def gates_of(items: list[GateItem], source: Document, outputs: Outputs) -> tuple[Gate, ...]:
    """Returns the gates of a list in YAML; notes wrong ones as faults of `source`."""
    parsed: list[Gate] = []
    for index, item in enumerate(items):
        level: Level = "error" if item.warn is None else "warn"
        text = (item.error if item.warn is None else item.warn) or ""
        path: plain_yaml.Path = ("gates", index)
        place = Source(source.name, *source.place(path))
        if (*path, level) in source.marks:
            path = (*path, level)
        try:
            found = gates.parse(
                text, outputs, level=level, min_samples=item.min_samples, source=place
            )
            parsed.append(found)
        except GateFault as fault:
            source.fault(path, str(fault), fault.offset)
    return tuple(parsed)
