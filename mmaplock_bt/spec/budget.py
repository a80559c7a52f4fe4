"""Lists of gates in YAML: a profile's own, and budget files that are kept beside the code."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from mmaplock_bt.spec import gates, located_yaml
from mmaplock_bt.spec.declaration import Output
from mmaplock_bt.spec.gates import Gate, GateFault, Level, Source
from mmaplock_bt.spec.located_yaml import Document


class GateItem(BaseModel):
    """One entry: the gate's text alone, or under its level, with `min_samples` beside it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    error: str | None = None
    warn: str | None = None
    min_samples: int = 1

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


class BudgetFile(BaseModel):
    """The file's shape; `schema budget` prints it as JSON Schema."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    description: str = ""
    gates: list[GateItem]


def load(path: str, outputs: dict[str, Output]) -> tuple[Gate, ...]:
    """Raises UsageError that lists every fault as file:line:column."""
    source = located_yaml.load(located_yaml.read(Path(path), "budget"), path)
    file = located_yaml.check(source, BudgetFile)
    found = gates_of(file.gates, source, outputs) if file else ()
    source.raise_faults()
    return found


def gates_of(
    items: list[GateItem], source: Document, outputs: dict[str, Output]
) -> tuple[Gate, ...]:
    """The gates under `gates:`; wrong ones become the document's faults."""
    parsed: list[Gate] = []
    for index, item in enumerate(items):
        level: Level = "error" if item.warn is None else "warn"
        text = (item.error if item.warn is None else item.warn) or ""
        path: located_yaml.Path = ("gates", index)
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
