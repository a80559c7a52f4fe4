"""What an analysis yields: one class for each way in which an output is filled.

`kind` says what its rows look like (histogram, table, counter, events). A table is counted by the
script, or made `of` another output's rows; events are recorded by the script, or made in Python:
`derive`d from waits and holds, or found `open`. (`advice` is in older results only.)
"""

from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from mmaplock_bt.spec.columns import STANDARD, Column, ColumnUnit

Unit = Literal["count", "ns", "bytes"]
KEY_TYPES = ("int", "hex", "enum", "cgroup")


class Strict(BaseModel):
    """Data from a file: unknown keys are faults, nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)


class CustomColumn(Strict):
    """A template's own column: an integer expression of bpftrace's under a name."""

    name: str = Field(description="what the column is called")
    expression: str = Field("", description="bpftrace; without one it is filled in Python")
    unit: ColumnUnit = Field("", description="of its values; empty for plain numbers")


_NAMES = [{"const": c.name, "description": c.help} for c in STANDARD.values()]
StandardName = Annotated[str, WithJsonSchema({"oneOf": _NAMES, "description": "a standard column"})]
Columns = list[StandardName | CustomColumn]


class _Output(Strict):
    """What every output has."""

    title: str = Field(description="its heading in reports")
    help: str = Field("", description="one more sentence for `show`")
    unit: Unit = Field("count", description="of its values, sums and maxima")
    hidden: bool = Field(False, description="material for other outputs, not shown itself")
    detail: Literal[0, 1, 2] = Field(
        0, description="on a terminal shown always (0), with -v (1), with -vv (2)"
    )

    @property
    def declared(self) -> Columns:
        """The columns as the template lists them."""
        return []

    @property
    def is_printed(self) -> bool:
        """Whether the script prints it; else Python makes its rows."""
        return False

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The keys or event columns.

        Of a printed output, stacks come last: their text holds newlines and any number of frames.
        """
        found = [_column(item) for item in self.declared]
        if self.is_printed:
            found.sort(key=lambda c: (not c.from_kernel, c.is_stack, c.type == "user_stack"))
        return tuple(found)

    @cached_property
    def printed(self) -> tuple[Column, ...]:
        """The columns that the script prints; the others are filled in Python."""
        return tuple(c for c in self.columns if c.from_kernel) if self.is_printed else ()

    @property
    def optional_columns(self) -> tuple[Column, ...]:
        """Further keys, by which rows are split only where a gate names them."""
        return ()

    @property
    def figures(self) -> tuple[Column, ...]:
        """The numbers that a row holds beside its key."""
        return ()

    @property
    def sources(self) -> list[str]:
        """Names of the outputs that it is made from."""
        return []


class _Keyed(_Output):
    """An output whose rows are counts, one for each key."""

    keys: Columns = Field([], description="what tells the rows apart")

    @field_validator("keys")
    @classmethod
    def _known_keys(cls, items: Columns) -> Columns:
        return _known(items)

    @property
    def declared(self) -> Columns:
        return self.keys


class Counted(_Keyed):
    """An output that the script counts, in maps that have these keys."""

    optional_keys: list[StandardName] = Field(
        [], description="further keys, filled only where a gate names them"
    )
    every: Literal["hold", "wait"] | None = Field(
        None, description="it counts every hold (or wait) that ends: the books need no own counters"
    )

    @property
    def is_printed(self) -> bool:
        return True

    @property
    def optional_columns(self) -> tuple[Column, ...]:
        return tuple(STANDARD[name] for name in self.optional_keys)

    @field_validator("optional_keys")
    @classmethod
    def _known_optional_keys(cls, names: list[str]) -> list[str]:
        _known(list(names))
        return names

    @model_validator(mode="after")
    def _whole_numbers(self) -> "Counted":
        if any(c.type not in KEY_TYPES for c in (*self.columns, *self.optional_columns)):
            raise ValueError("a key holds integers only: use a pid, or group events with `of`")
        return self


class Histogram(Counted):
    """Counts by bucket of a value, with the values' sum and maximum, for each key."""

    kind: Literal["histogram"]
    totals: str | None = Field(
        None, description="the table that is recorded with it and has its sums and maxima"
    )

    def totals_in(self, outputs: "Outputs") -> "Table | None":
        """Returns the table that has the sums and maxima; None where the histogram has its own.

        A gate may have split it by a key that the table lacks.
        """
        table = outputs.get(self.totals or "")
        keys = {column.name for column in self.columns}
        has_them = isinstance(table, Table) and keys <= {column.name for column in table.columns}
        return table if has_them and isinstance(table, Table) else None

    @property
    def figures(self) -> tuple[Column, ...]:
        return _figures(self.unit)


class Counter(Counted):
    """A count for each key."""

    kind: Literal["counter"]

    @property
    def figures(self) -> tuple[Column, ...]:
        return _figures(self.unit)[:1]


class Table(Counted):
    """Count, sum and maximum of a value for each key."""

    kind: Literal["table"]
    rank: str | None = Field(None, description="the figure by which rows are sorted")
    share_of: str | None = Field(
        None, description="the output of which this one's counts and sums are a part"
    )

    @property
    def figures(self) -> tuple[Column, ...]:
        shares = ("count_permille", "sum_permille") if self.share_of else ()
        return (*_figures(self.unit), *(Column(name, unit="permille") for name in shares))


class Group(_Keyed):
    """A table made of another output's rows, grouped by keys."""

    kind: Literal["table"]
    of: str = Field(description="the output whose rows are grouped")
    value: str = Field(description="the column that is summed")
    where: dict[str, str | int] = Field({}, description="only rows with these values")
    weight: str | None = Field(None, description="a column: how many each row stands for")
    sums: list[str] = Field([], description="further columns that are summed")
    distinct: dict[str, str] = Field(
        {}, description="new column -> the column whose different values are counted"
    )
    worst: list[str] = Field([], description="columns of the row with the largest value")
    period: bool = Field(False, description="whether the rows repeat, from their times")
    rank: str | None = Field(None, description="the figure by which rows are sorted (sum)")

    @property
    def figures(self) -> tuple[Column, ...]:
        further = (*(_number(name) for name in self.sums), *map(Column, self.distinct),
                   *(STANDARD.get(name, Column(name)) for name in self.worst))  # fmt: skip
        period = (_number("period_ns"), _number("period_error_ns")) if self.period else ()
        return (*_figures(self.unit), *further, *period)

    @property
    def sources(self) -> list[str]:
        return [self.of]


class _Listed(_Output):
    """An output whose rows are single events."""

    kind: Literal["events"]
    fields: Annotated[Columns, Field(min_length=1, description="what each row holds")]
    rank: str | None = Field(None, description="the column by which rows are sorted (time)")
    mode: Literal["read", "write"] | None = Field(
        None, description="of all its rows, where no column tells it"
    )

    @field_validator("fields")
    @classmethod
    def _known_fields(cls, items: Columns) -> Columns:
        return _known(items)

    @property
    def declared(self) -> Columns:
        return self.fields


class Events(_Listed):
    """Events that the script records one by one."""

    behind: str | None = Field(None, description="the holds that each wait is joined with")

    @property
    def is_printed(self) -> bool:
        return True

    @property
    def sources(self) -> list[str]:
        return [self.behind] if self.behind else []


class Derivation(Strict):
    """The outputs of waits, holds and (optional) open spans that events are made from."""

    by: Literal["charges", "convoys"] = Field(description="how")
    waits: str = Field(description="the output that holds the waits")
    holds: str = Field(description="the output that holds the holds")
    open: str | None = Field(None, description="the output of spans that the end cut off")


class Derived(_Listed):
    """Events that Python makes from other outputs."""

    derive: Derivation = Field(description="from which outputs, and how")

    @property
    def sources(self) -> list[str]:
        found = (self.derive.waits, self.derive.holds, self.derive.open)
        return [name for name in found if name]


class Watch(Strict):
    """Which open waits and holds become rows; both name parameters of the template."""

    older: str = Field(description="the parameter that holds the age")
    every: str | None = Field(
        None, description="the parameter that says how often to look; none: at the end only"
    )
    last_only: bool = Field(
        False, description="rows are what the last look saw; those before it serve other outputs"
    )


class OpenSpans(_Listed):
    """Waits and holds that had not ended when they were looked at."""

    open: Watch = Field(description="which of them")


class Rule(Strict):
    """One rule of an output that gives advice."""

    when: str = Field(description="the condition, a gate's text")
    run: str = Field(description="the profile to run next")
    why: str = Field(description="the reason; {observed} becomes the figure")


class Advice(_Listed):
    """Which profile to run next, in results from before there were findings."""

    advice: Annotated[list[Rule], Field(min_length=1, description="the first that holds is given")]


_EVENTS = {"derive": "derived", "open": "open", "advice": "advice"}  # by the key that they have
_TAGS: dict[type[BaseModel], str] = {
    Histogram: "histogram", Counter: "counter", Table: "table", Group: "group",
    Events: "events", Derived: "derived", OpenSpans: "open", Advice: "advice",
}  # fmt: skip


def _tag(value: Any) -> str | None:
    """The union's tag for a mapping or a model; None for an unknown kind."""
    if isinstance(value, BaseModel):
        return _TAGS[type(value)]
    kind = value.get("kind") if isinstance(value, dict) else None
    if kind == "table":
        return "group" if value.get("of") or value.get("value") else "table"
    if kind == "events":
        return next((tag for name, tag in _EVENTS.items() if value.get(name)), "events")
    return kind if kind in ("histogram", "counter") else None


Output = Annotated[
    Annotated[Histogram, Tag("histogram")]
    | Annotated[Counter, Tag("counter")]
    | Annotated[Table, Tag("table")]
    | Annotated[Group, Tag("group")]
    | Annotated[Events, Tag("events")]
    | Annotated[Derived, Tag("derived")]
    | Annotated[OpenSpans, Tag("open")]
    | Annotated[Advice, Tag("advice")],
    Discriminator(
        _tag,
        custom_error_type="kind",
        custom_error_message="its `kind` is one of histogram, table, counter, events",
    ),
]
Outputs = dict[str, Output]


def with_keys(output: Output, names: tuple[str, ...]) -> Output:
    """Returns the output with these of its optional keys among its keys."""
    if not isinstance(output, Counted):
        return output
    rest = [name for name in output.optional_keys if name not in names]
    changed = {"keys": [*output.keys, *names], "optional_keys": rest}
    return type(output).model_validate(output.model_dump() | changed)


def _figures(unit: Unit) -> tuple[Column, ...]:
    """What is counted for every key."""
    own: ColumnUnit = "" if unit == "count" else unit
    return Column("count"), Column("sum", unit=own), Column("max", unit=own)


def _number(name: str) -> Column:
    return STANDARD.get(name) or Column(name, unit="ns" if name.endswith("_ns") else "")


def _known(items: Columns) -> Columns:
    unknown = [item for item in items if isinstance(item, str) and item not in STANDARD]
    if unknown:
        raise ValueError(f"unknown field {unknown[0]}, allowed: {', '.join(STANDARD)}")
    return items


def _column(item: str | CustomColumn) -> Column:
    if isinstance(item, str):
        return STANDARD[item]
    return Column(item.name, "int", item.unit, expression=item.expression,
                  from_kernel=bool(item.expression))  # fmt: skip
