"""A template's declaration: the parameters it takes and the outputs it fills.

It is YAML in the first Jinja comment of the file, so that one file holds the question, the
declaration and the probes, and Jinja reads it unchanged.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from mmaplock_bt import resources
from mmaplock_bt.errors import UsageError
from mmaplock_bt.spec import located_yaml
from mmaplock_bt.spec.columns import LABELS, STANDARD, Field
from mmaplock_bt.spec.located_yaml import read
from mmaplock_bt.units import parse_duration, parse_size

SUFFIX = ".bt.j2"
_DECLARATION = re.compile(r"\A(\s*\{#-?)(.*?)-?#\}", re.DOTALL)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")

ParamValue = int | str


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Param(_Strict):
    """One parameter: resolved to an integer (ns for a duration, bytes for a size)."""

    type: Literal["duration", "size", "int"]
    default: ParamValue
    min: ParamValue | None = None
    max: ParamValue | None = None
    help: str = ""

    def parse(self, value: ParamValue) -> int:
        """Text or number as given -> integer. Raises UsageError."""
        number = self._number(value)
        low = 0 if self.min is None else self._number(self.min)
        if number < low or (self.max is not None and number > self._number(self.max)):
            top = "" if self.max is None else f" and at most {self.max}"
            raise UsageError(f"{value} is out of range: at least {self.min or 0}{top}")
        return number

    def _number(self, value: ParamValue) -> int:
        if self.type == "duration":
            return parse_duration(str(value))
        if self.type == "size":
            return parse_size(str(value))
        if not re.fullmatch(r"-?\d{1,18}", str(value)):
            raise UsageError(f"'{value}' is not a whole number")
        return int(value)


class CustomField(_Strict):
    """A column of the template's own: an integer expression under a name."""

    name: str
    expression: str = ""
    unit: str = ""


class Open(_Strict):
    """Spans still open when the window ends, taken when `older`; both name parameters.

    With `every` they are looked for, and told, so often while it lasts.
    """

    older: str
    every: str | None = None


class Derive(_Strict):
    """Events made in Python from the rows of others: waits, holds and (optional) open spans."""

    by: Literal["charges", "convoys"]
    waits: str
    holds: str
    open: str | None = None


class Advice(_Strict):
    """One rule of an advising output: what to run next when a condition (a gate's text) holds."""

    when: str
    run: str
    why: str


class Output(_Strict):
    """One thing that the analysis yields, in the terms that result, gates and renderers use.

    Filled by the script's records, unless it says where else its rows come from: `of` and `value`
    group the rows of another output, `derive` makes events from waits and holds, `open` asks for
    spans that have not ended, `advice` judges the other outputs. `behind` joins waits with holds.
    """

    kind: Literal["histogram", "table", "counter", "events"]
    title: str
    help: str = ""
    unit: str = "count"
    keys: list[str | CustomField] = []
    optional_keys: list[str] = []  # further keys, filled only where a gate names them
    fields: list[str | CustomField] = []
    rank: str | None = None
    behind: str | None = None
    derive: Derive | None = None
    open: Open | None = None
    advice: list[Advice] = []
    of: str | None = None
    where: dict[str, str | int] = {}  # only rows with these values
    value: str | None = None
    weight: str | None = None  # a field that says how many each row stands for
    sums: list[str] = []  # further fields that are summed
    share_of: str | None = None  # of which output's counts and sums this one's are a part
    distinct: dict[str, str] = {}  # column -> the field whose different values are counted
    worst: list[str] = []  # fields of the row with the largest value
    period: bool = False  # whether the rows repeat, from their times
    hidden: bool = False

    @property
    def is_printed(self) -> bool:
        """Whether the script itself fills it."""
        return not (self.of or self.derive or self.open or self.advice)

    @property
    def columns(self) -> tuple[Field, ...]:
        """Keys or event fields; printed ones with stacks last (the parts whose length is open)."""
        found = [_column(item) for item in (self.fields if self.kind == "events" else self.keys)]
        if not self.is_printed:
            return tuple(found)
        return tuple(sorted(found, key=lambda f: (f.is_joined, f.is_stack, f.type == "user_stack")))

    @property
    def optional_columns(self) -> tuple[Field, ...]:
        return tuple(STANDARD[name] for name in self.optional_keys)

    def with_keys(self, names: tuple[str, ...]) -> "Output":
        """The output with these of its optional keys among its keys."""
        rest = [name for name in self.optional_keys if name not in names]
        return self.model_copy(update={"keys": [*self.keys, *names], "optional_keys": rest})

    @property
    def printed(self) -> tuple[Field, ...]:
        """The columns that a record carries; joined ones are filled in later."""
        if not self.is_printed:
            return ()
        return tuple(column for column in self.columns if not column.is_joined)

    @property
    def sources(self) -> list[str]:
        """The outputs that it is made from."""
        derived = self.derive
        made = [derived.waits, derived.holds, derived.open] if derived else []
        return [name for name in (self.behind, self.of, *made) if name]

    def cut(self, rest: str) -> dict[str, str] | None:
        """A record without its name -> text by column; None when there are too few."""
        parts = rest.split("|", len(self.printed) - 1)
        if len(parts) != len(self.printed):
            return None
        return {column.name: part for column, part in zip(self.printed, parts, strict=True)}

    @field_validator("keys", "optional_keys", "fields")
    @classmethod
    def _known(cls, items: list[str | CustomField]) -> list[str | CustomField]:
        unknown = [i for i in items if isinstance(i, str) and i not in STANDARD]
        if unknown:
            raise ValueError(f"unknown field {unknown[0]}, allowed: {', '.join(STANDARD)}")
        return items

    @model_validator(mode="after")
    def _sensible(self) -> "Output":
        if (self.kind == "events") != bool(self.fields):
            raise ValueError("events have `fields`; every other kind has `keys` or nothing")
        if (self.of is None) != (self.value is None) or (self.of and self.kind != "table"):
            raise ValueError("a table `of` rows names the field that is summed as its `value`")
        if self.kind != "events" and self.is_printed:
            self._check_keys()
        return self

    def _check_keys(self) -> None:
        columns = (*self.columns, *self.optional_columns)
        if any(f.type not in ("int", "hex", "enum", "cgroup") for f in columns):
            raise ValueError("a key holds integers only: use a pid, or group events with `of`")


class Declaration(_Strict):
    """The front matter of a template."""

    question: str
    filters: list[Literal["owner", "actor", "mode"]] = ["owner", "actor", "mode"]
    params: dict[str, Param] = {}
    outputs: dict[str, Output]

    @model_validator(mode="after")
    def _named(self) -> "Declaration":
        for name in (*self.params, *self.outputs):
            if not _NAME.fullmatch(name):
                raise ValueError(f"the name '{name}' must match {_NAME.pattern}")
        for name, output in self.outputs.items():
            self._check_sources(name, output)
        return self

    def _check_sources(self, name: str, output: Output) -> None:
        before = list(self.outputs)[: list(self.outputs).index(name)]
        for other in output.sources:
            kind = self.outputs[other].kind if other in self.outputs else "none"
            if kind != "events" and (other != output.of or kind != "table"):
                raise ValueError(f"outputs.{name} refers to no events output: {other}")
            if not self.outputs[other].is_printed and other not in before:
                raise ValueError(f"outputs.{name} is made from {other}, which must stand before it")
        for param in filter(None, (output.open.older, output.open.every)) if output.open else ():
            if param not in self.params or self.params[param].type != "duration":
                raise ValueError(f"outputs.{name}.open: {param} is no duration among the params")


class Template(_Strict):
    """A template as read: `name` is what a profile calls it, `source` is Jinja."""

    name: str
    source: str
    declaration: Declaration


def load(name: str, beside: Path | None = None) -> Template:
    """A shipped template by name, or a file by a path (relative ones: beside the profile)."""
    if "/" in name or name.endswith(SUFFIX):
        path = (beside or Path()) / name
        return parse(read(path, "template"), path.name.removesuffix(SUFFIX), str(path))
    names = resources.shipped_names("templates", SUFFIX)
    if name not in names:
        raise UsageError(f"unknown template '{name}', shipped: {', '.join(names)}; or give ./FILE")
    return shipped(name)


def shipped(name: str) -> Template:
    """One that comes with the tool, also those with '_' that no profile can name."""
    entry = resources.shipped("templates") / (name + SUFFIX)
    return parse(entry.read_text(encoding="utf-8"), name, f"templates/{name}{SUFFIX}")


def parse(source: str, name: str, path: str) -> Template:
    """Splits off and checks the declaration. Raises UsageError with file, line and column."""
    match = _DECLARATION.match(source)
    if match is None:
        raise UsageError(
            f"{path}:1:1: no declaration: start with {{# question: ... outputs: ... #}}"
        )
    declared = located_yaml.load(match[2], path, 1 + match[1].count("\n"))
    declaration = located_yaml.check(declared, Declaration)
    declared.raise_faults()
    assert declaration is not None
    return Template(name=name, source=source, declaration=declaration)


def _column(item: str | CustomField) -> Field:
    if isinstance(item, str):
        field = STANDARD[item]
        return replace(field, labels=LABELS) if field.name == "label" else field
    return Field(item.name, "int", item.unit, item.expression)
