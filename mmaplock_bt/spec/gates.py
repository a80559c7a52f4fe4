"""Gates, `[warn:] OUTPUT{key=value,...}.FIELD OP LIMIT`: parsed, and checked against outputs."""

import re
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from mmaplock_bt.errors import UsageError
from mmaplock_bt.spec.columns import LEARNT, Column
from mmaplock_bt.spec.outputs import Output, Outputs
from mmaplock_bt.units import NS, parse_duration

Operator = Literal["<", "<=", ">", ">=", "==", "!="]
Level = Literal["warn", "error"]
Decision = Literal["pass", "fail", "undecided"]
Number = int | Fraction
LONGEST = 1000  # characters of a gate: its patterns take the square of their blanks
Where = tuple[tuple[str, str], ...]
QUANTILES = {"p50": (1, 2), "p90": (9, 10), "p99": (99, 100), "p99.9": (999, 1000)}
BOOKS = (
    *("starts", "acquires", "failed", "releases", "downgrades"),
    *("open_holds", "open_waits", "orphan_releases", "residue"),
)
LOSS = (
    *("lost_events", "map_full", "stack_errors"),
    *("unparsed_lines", "probes_expected", "probes_attached", "missed_events"),
)
_FIELDS = {
    "histogram": ("count", "rate", "sum", "max", *QUANTILES),
    "table": ("count", "rate", "sum", "max"),
    "counter": ("count", "rate"),
    "events": ("count", "rate"),
}
_PAIR = r'\s*[a-z]\w*\s*=\s*(?:"[^"]*"|[^,}"]+)'
_PARTS = {
    "level": re.compile(r"\s*(?:(warn|error)\s*:)?\s*"),
    "output": re.compile(r"([a-z]\w*)"),
    "where": re.compile(rf"(?:\{{({_PAIR}(?:,{_PAIR})*)\}})?"),
    "field": re.compile(r"\.(max\(\w+\)|[a-z]\w*(?:\.9)?)"),  # p99.9 is the one field with a dot.
    "op": re.compile(r"\s*(<=|>=|==|!=|<|>)"),
    "limit": re.compile(r"\s*(\S.*?)\s*$"),
}
_NEGATED: dict[Operator, Operator] = {">": "<=", ">=": "<", "!=": "=="}
_OPPOSITE: dict[Decision, Decision] = {"pass": "fail", "fail": "pass", "undecided": "undecided"}
_EXPECTED = {
    "output": "the name of an output",
    "field": "'{key=value,...}' or '.FIELD'",
    "op": "one of < <= > >= == !=",
    "limit": "a limit",
}


class GateFault(UsageError):
    """A fault in a gate's text; `offset` is its place there, counted from 0."""

    def __init__(self, sentence: str, offset: int) -> None:
        super().__init__(sentence)
        self.offset = offset


@dataclass(frozen=True)
class Source:
    """The place where a gate was written; line and column count from 1."""

    file: str
    line: int
    column: int


@dataclass(frozen=True)
class Metric:
    """The name of one number of a result: `OUTPUT{key=value,...}.FIELD`; `unit` is 'ns' or ''."""

    text: str
    output: str
    where: Where
    field: str
    unit: str = ""


@dataclass(frozen=True)
class Gate:
    """A condition that must hold; `text` is as written, `limit` in the metric's unit.

    With fewer than `min_samples` samples it is inconclusive.
    """

    text: str
    metric: Metric
    operator: Operator
    limit: int
    level: Level = "error"
    min_samples: int = 1
    source: Source | None = field(default=None, compare=False)


def parse(
    text: str,
    outputs: Outputs,
    *,
    level: Level = "error",
    min_samples: int = 1,
    source: Source | None = None,
) -> Gate:
    """Reads a gate's text and checks it against the outputs.

    A level in the text wins over `level`. Raises GateFault: which part is wrong, what is allowed.
    """
    parts = _cut(text, tuple(_PARTS))
    found = _metric(text, parts, outputs)
    limit = _limit(*parts["limit"], found)
    operator: Operator = parts["op"][0]  # type: ignore[assignment]
    written: Level = parts["level"][0] or level  # type: ignore[assignment]
    own = text[parts["output"][1] :].strip()
    return Gate(own, found, operator, limit, written, min_samples, source)


def check_syntax(text: str) -> None:
    """Raises GateFault for a text that is no gate whatever the outputs are."""
    _cut(text, tuple(_PARTS))


def metric(text: str, outputs: Outputs) -> Metric:
    """Reads a metric, the left side of a gate. Raises GateFault."""
    parts = _cut(text, ("level", "output", "where", "field"))
    if parts["level"][0]:
        raise GateFault("a level belongs to a gate, not to a metric", 0)
    return _metric(text, parts, outputs)


def decide(operator: Operator, low: Number | None, high: Number | None, limit: int) -> Decision:
    """Tells whether the condition holds for all of [low, high], for none of it, or for a part.

    These are 'pass', 'fail' and 'undecided'. None is an open end.
    """
    match operator:
        case "<":
            return _decision(high is not None and high < limit, low is not None and low >= limit)
        case "<=":
            return _decision(high is not None and high <= limit, low is not None and low > limit)
        case "==":
            outside = (low is not None and low > limit) or (high is not None and high < limit)
            return _decision(low == high == limit, outside)
        case _:
            return _OPPOSITE[decide(_NEGATED[operator], low, high, limit)]


def _decision(holds: bool, fails: bool) -> Decision:
    return "pass" if holds else "fail" if fails else "undecided"


def demanded(found: Metric, outputs: Outputs) -> tuple[str, ...]:
    """Returns the optional keys by which the output must be split to yield this metric."""
    output = outputs.get(found.output)
    if output is None:
        return ()
    have = _columns(output.columns)
    wanted = [key for key, _ in found.where if key not in have]
    return tuple(
        column.name
        for column in output.optional_columns
        if any(key in (column.name, *LEARNT.get(column.name, ())) for key in wanted)
    )


def _cut(text: str, names: tuple[str, ...]) -> dict[str, tuple[str, int]]:
    """The named parts, each with its offset. Raises GateFault where one is missing."""
    if len(text) > LONGEST:
        raise GateFault(f"longer than {LONGEST:,} characters", LONGEST)
    at = 0
    parts: dict[str, tuple[str, int]] = {}
    for name in names:
        match = _PARTS[name].match(text, at)
        if match is None:
            raise GateFault(f"expected {_EXPECTED[name]} at {_rest(text, at)}", at)
        parts[name] = match[1] or "", match.start(1) if match[1] else at
        at = match.end()
    if text[at:].strip():
        raise GateFault(f"nothing is expected at {_rest(text, at)}", at)
    return parts


def _rest(text: str, at: int) -> str:
    return f"'{text[at:].strip()}'" if text[at:].strip() else "the end"


def _metric(text: str, parts: dict[str, tuple[str, int]], outputs: Outputs) -> Metric:
    output, output_at = parts["output"]
    name, field_at = parts["field"]
    pairs = _pairs(*parts["where"])
    where = tuple((key, value) for key, value, _ in pairs)
    written = text[output_at : field_at + len(name)]
    if output in ("books", "loss"):
        if where:
            raise GateFault(f"{output} has no keys", parts["where"][1])
        _one_of(name, BOOKS if output == "books" else LOSS, output, field_at)
        return Metric(written, output, where, name)
    if output not in outputs:
        allowed = ", ".join((*outputs, "books", "loss"))
        raise GateFault(f"no output '{output}', allowed: {allowed}", output_at)
    declared = outputs[output]
    _check_keys(output, pairs, declared)
    return Metric(written, output, where, name, _unit(output, name, declared, field_at))


def _pairs(text: str, start: int) -> list[tuple[str, str, int]]:
    """(key, value, offset of the key) each."""
    return [
        (found[1], found[2] if found[3] is None else found[3].strip(), start + found.start(1))
        for found in re.finditer(r'(\w+)\s*=\s*(?:"([^"]*)"|([^,]+))', text)
    ]


def _unit(output: str, name: str, declared: Output, at: int) -> str:
    if declared.kind == "events" and name.startswith("max("):
        columns = {f.name: f.unit for f in declared.columns if f.type == "int"}
        _one_of(name[4:-1], tuple(columns), f"max() of {output}", at + 4)
        return columns[name[4:-1]]
    _one_of(name, _FIELDS[declared.kind], output, at)
    return "" if name in ("count", "rate") or declared.unit == "count" else declared.unit


def _columns(columns: tuple[Column, ...]) -> dict[str, Column]:
    """The keys that rows have: the declared ones, and those learnt of a pid."""
    found = {column.name: column for column in columns}
    for key, learnt in LEARNT.items():
        if key in found:
            for name in learnt:
                found.setdefault(name, Column(name, "text"))
    return found


def _check_keys(output: str, pairs: list[tuple[str, str, int]], declared: Output) -> None:
    columns = _columns((*declared.columns, *declared.optional_columns))
    for key, value, at in pairs:
        _one_of(key, tuple(columns), f"key of {output}", at)
        if columns[key].labels:
            _one_of(value, columns[key].labels, key, at)
        if columns[key].type == "int" and not re.fullmatch("[0-9]{1,18}", value):
            raise GateFault(f"{key} is a whole number, not '{value}'", at)


def _one_of(name: str, allowed: tuple[str, ...], what: str, at: int) -> None:
    if name not in allowed:
        raise GateFault(f"{what}: '{name}' is unknown, allowed: {', '.join(allowed)}", at)


def _limit(text: str, at: int, found: Metric) -> int:
    if found.unit == "ns":
        try:
            return parse_duration(text)
        except UsageError as error:
            raise GateFault(str(error), at) from error
    number = text.removesuffix("/s") if found.field == "rate" else text
    if not re.fullmatch(r"[0-9]{1,18}", number):
        note = f"; {', '.join(NS)} are for times" if re.search("[a-z]", text) else ""
        sentence = f"the limit of {found.field} is a whole number, not '{text}'{note}"
        raise GateFault(sentence, at)
    return int(number)
