"""Templates as read: Jinja, headed by a declaration of parameters and outputs.

The declaration is YAML in the file's first Jinja comment: one file holds the question, the
declaration and the probes, and Jinja reads it unchanged.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, WithJsonSchema

from mmaplock_bt import resources
from mmaplock_bt.errors import UsageError
from mmaplock_bt.escaping import shown
from mmaplock_bt.spec import gates, located_yaml, plain_yaml, user_file
from mmaplock_bt.spec.columns import LEARNT
from mmaplock_bt.spec.findings import MADE, CalmRule, FindingRule
from mmaplock_bt.spec.outputs import (
    Advice,
    Group,
    Histogram,
    OpenSpans,
    Output,
    Outputs,
    Strict,
    Table,
)
from mmaplock_bt.spec.plain_yaml import Document
from mmaplock_bt.units import parse_duration, parse_size, parse_whole

SUFFIX = ".bt.j2"
_DECLARATION = re.compile(r"\A(\s*\{#-?)(.*?)-?#\}", re.DOTALL)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


def _value(given: Any) -> int | str:
    """True is an integer to Python."""
    if isinstance(given, bool) or not isinstance(given, int | str):
        raise ValueError("a parameter is a number, or a text like 5ms")
    return given


_SHAPE: Any = {"anyOf": [{"type": "integer"}, {"type": "string"}]}
ParamValue = Annotated[int | str, PlainValidator(_value), WithJsonSchema(_SHAPE)]
Side = Literal["owner", "actor", "mode"]
Locks = Literal["all", "contended"]


class Param(Strict):
    """A parameter of a template, an integer once resolved (durations in ns, sizes in bytes)."""

    type: Literal["duration", "size", "int"] = Field(description="what its values look like")
    default: ParamValue = Field(description="the value where none is given")
    min: ParamValue | None = Field(None, description="the least value (0 unless given)")
    max: ParamValue | None = Field(None, description="the largest value")
    help: str = Field("", description="one line for `show`")

    def parse(self, value: ParamValue) -> int:
        """Reads a value as given, text or number, as an integer. Raises UsageError."""
        number = self._number(value)
        low = 0 if self.min is None else self._number(self.min)
        if number < low or (self.max is not None and number > self._number(self.max)):
            top = "" if self.max is None else f" and at most {self.max}"
            raise UsageError(f"{shown(value)} is out of range: at least {self.min or 0}{top}")
        return number

    def _number(self, value: ParamValue) -> int:
        if self.type == "duration":
            return parse_duration(str(value))
        if self.type == "size":
            return parse_size(str(value))
        return parse_whole(str(value))


class Declaration(Strict):
    """The YAML at the top of a template."""

    question: str = Field(description="what the analysis answers, as one question")
    filters: list[Side] = Field(
        ["owner", "actor", "mode"], description="the filters that leave its answer right"
    )
    locks: Annotated[list[Locks], Field(min_length=1)] = Field(
        ["all"],
        description="which it can follow: all locks, only contended ones; the first unless asked",
    )
    samples: bool = Field(False, description="whether it may follow one lock in N, and scale")
    params: dict[str, Param] = Field({}, description="parameters by name, for `--set` and profiles")
    outputs: Outputs = Field(description="what it yields, by name")
    findings: list[FindingRule] = Field([], description="which rows are findings, in words")
    calm: list[CalmRule] = Field([], description="what is said where nobody waited")
    sample: str = Field("", description="what the standalone script printed, for its header")


@dataclass(frozen=True)
class Template:
    """A template as read: the name that profiles use, its Jinja source, its path.

    `document` tells where in the file each part of the declaration stands. One that `is_shipped` is
    ours; any other is code from outside.
    """

    name: str
    source: str
    declaration: Declaration
    file: str = ""
    document: Document | None = None
    is_shipped: bool = False


def load(name: str, beside: Path | None = None) -> Template:
    """Reads a shipped template by name, or a file by its path.

    Relative paths are relative to the folder `beside`. Raises UsageError.
    """
    if "/" in name or name.endswith(SUFFIX):
        path = (beside or Path()) / name
        text = user_file.read(path, "template", obeyed=True)
        return parse(text, path.name.removesuffix(SUFFIX), str(path))
    names = resources.shipped_names("templates", SUFFIX)
    if name not in names:
        known = ", ".join(names)
        raise UsageError(f"unknown template '{shown(name)}', shipped: {known}; or give ./FILE")
    return shipped(name)


def shipped(name: str) -> Template:
    """Reads a shipped template by name, also those with '_' that no profile can use."""
    entry = resources.shipped("templates") / (name + SUFFIX)
    found = parse(entry.read_text(encoding="utf-8"), name, f"templates/{name}{SUFFIX}")
    return replace(found, is_shipped=True)


def parse(source: str, name: str, path: str) -> Template:
    """Splits the declaration off a template's source and checks it.

    Raises UsageError that lists every fault as file:line:column.
    """
    match = _DECLARATION.match(source)
    if match is None:
        raise UsageError(
            f"{path}:1:1: no declaration: start with {{# question: ... outputs: ... #}}"
        )
    declared = plain_yaml.load(match[2], path, 1 + match[1].count("\n"))
    declaration = located_yaml.check(declared, Declaration)
    if declaration is not None:
        _check(declaration, declared)
    declared.raise_faults()
    assert declaration is not None
    return Template(name, source, declaration, path, declared)


def _check(declaration: Declaration, document: Document) -> None:
    """Notes where parts of a declaration contradict each other."""
    for kind in ("params", "outputs"):
        for name in getattr(declaration, kind):
            if not _NAME.fullmatch(name):
                document.fault((kind, name), f"the name must match {_NAME.pattern}")
    for name, output in declaration.outputs.items():
        for looks in (_wrong_sources, _wrong_names, _wrong_watch, _wrong_rules):
            for key, message in looks(name, output, declaration):
                document.fault(("outputs", name, *key), message)

    _check_findings(declaration, document)


def _check_findings(declaration: Declaration, document: Document) -> None:
    for turn, rule in enumerate(declaration.findings):
        for key, message in _wrong_finding(rule, declaration):
            document.fault(("findings", turn, *key), message)
    for turn, calm in enumerate(declaration.calm):
        for message in _wrong_condition(calm.when, declaration):
            document.fault(("calm", turn, "when"), message)


Fault = tuple[tuple[str | int, ...], str]  # where below the output, and what


def _wrong_sources(name: str, output: Output, declaration: Declaration) -> Iterator[Fault]:
    before = list(declaration.outputs)[: list(declaration.outputs).index(name)]
    for other in output.sources:
        source = declaration.outputs.get(other)
        kinds = ("events", "table") if isinstance(output, Group) else ("events",)
        if source is None or source.kind not in kinds:
            yield (), f"it is made from '{other}', which is no output of kind {' or '.join(kinds)}"
        elif not source.is_printed and other not in before:
            yield (), f"it is made from '{other}', which must stand before it"


def _wrong_names(_name: str, output: Output, declaration: Declaration) -> Iterator[Fault]:
    """Columns that an output names, of itself or of its source, and that are not there."""
    own, declared = _names(output), declaration.outputs
    rank = getattr(output, "rank", None)
    if rank is not None and rank not in own:
        yield ("rank",), f"it has no column '{rank}', allowed: {', '.join(own)}"
    if isinstance(output, Histogram) and output.totals and not output.totals_in(declared):
        yield ("totals",), f"no table '{output.totals}' that has all of its keys"
    if isinstance(output, Table) and output.share_of not in (None, *declaration.outputs):
        yield ("share_of",), f"no output '{output.share_of}'"
    source = declaration.outputs.get(output.of) if isinstance(output, Group) else None
    if isinstance(output, Group) and source is not None:
        known = _names(source)
        for key, named in _named(output):
            if named not in known:
                allowed = ", ".join(known)
                yield (key,), f"'{output.of}' has no column '{named}', allowed: {allowed}"


def _names(output: Output) -> list[str]:
    """What a row of the output holds, columns learnt of a pid included."""
    found = [column.name for column in (*output.columns, *output.figures)]
    if output.kind != "events":
        found += [name for column in output.columns for name in LEARNT.get(column.name, ())]
    return list(dict.fromkeys(found))


def _named(output: Group) -> Iterator[tuple[str, str]]:
    """(key of the declaration, column of the source that it names)."""
    yield "value", output.value
    if output.weight:
        yield "weight", output.weight
    for key in ("where", "sums", "worst"):
        yield from ((key, name) for name in getattr(output, key))
    yield from (("distinct", name) for name in output.distinct.values())
    yield from (("keys", column.name) for column in output.columns)


def _wrong_watch(_name: str, output: Output, declaration: Declaration) -> Iterator[Fault]:
    if isinstance(output, OpenSpans):
        for name in filter(None, (output.open.older, output.open.every)):
            param = declaration.params.get(name)
            if param is None or param.type != "duration":
                yield ("open",), f"'{name}' is no duration among the params"


def _wrong_rules(_name: str, output: Output, _declaration: Declaration) -> Iterator[Fault]:
    if isinstance(output, Advice):
        yield ("advice",), "what to run next is said by `findings:`, beside `outputs:`"


def _wrong_condition(text: str, declaration: Declaration) -> Iterator[str]:
    try:
        gates.parse(text, declaration.outputs)
    except UsageError as error:
        yield str(error)


def _wrong_finding(rule: FindingRule, declaration: Declaration) -> Iterator[Fault]:
    output = declaration.outputs.get(rule.of)
    if output is None or output.kind not in ("table", "events"):
        yield ("of",), f"'{rule.of}' is no output of kind table or events"
        return
    known = [*_names(output), *(("count",) if output.kind == "events" else ())]
    for key, named in rule.columns.items():
        if named not in known:
            yield tuple(key.split(".")), f"'{rule.of}' has no column '{named}'"
    try:
        unknown = sorted(rule.names - {*MADE, *known})
    except ValueError as error:
        yield ("says",), f"its braces are wrong: {error}"
        return
    if unknown:
        allowed = ", ".join((*MADE, *known))
        yield ("says",), f"it has no '{unknown[0]}', allowed: {allowed}"
