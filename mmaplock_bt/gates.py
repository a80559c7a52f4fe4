"""Gates: `OUTPUT{key=value,...}.FIELD OP LIMIT`, parsed and checked against declared outputs."""

import re
from dataclasses import dataclass
from typing import Literal

from mmaplock_bt.errors import UsageError
from mmaplock_bt.template import Output
from mmaplock_bt.units import NS, parse_duration

Operator = Literal["<", "<=", ">", ">=", "==", "!="]
QUANTILES = ("p50", "p90", "p99", "p99.9")
BOOKS = (
    *("starts", "acquires", "failed", "releases", "downgrades"),
    *("open_holds", "open_waits", "orphan_releases", "residue"),
)
LOSS = (
    *("lost_events", "map_full", "stack_errors"),
    *("unparsed_lines", "probes_expected", "probes_attached"),
)
_FIELDS = {
    "histogram": ("count", "rate", "sum", "max", *QUANTILES),
    "table": ("count", "rate", "sum", "max"),
    "counter": ("count", "rate"),
    "events": ("count", "rate"),
}
_GATE = re.compile(
    r"\s*(?P<output>[a-z]\w*)(?:\{(?P<where>[^}]*)\})?\.(?P<field>max\(\w+\)|[a-z]\w*(?:\.9)?)"
    r"\s*(?P<op><=|>=|==|!=|<|>)\s*(?P<limit>\S.*?)\s*"
)


@dataclass(frozen=True)
class Gate:
    """A condition that must hold. `limit` is in the metric's own unit (ns for times)."""

    text: str
    output: str
    where: tuple[tuple[str, str], ...]
    field: str
    operator: Operator
    limit: int
    unit: str = ""


def parse(text: str, outputs: dict[str, Output]) -> Gate:
    """Raises UsageError that says which part is wrong and what is allowed."""
    match = _GATE.fullmatch(text)
    if match is None:
        raise UsageError(f"'{text}' is not a gate: OUTPUT{{key=value}}.FIELD < LIMIT")
    output, field = match["output"], match["field"]
    where = _where(match["where"])
    unit = _check(output, field, where, outputs)
    limit = _limit(match["limit"], "ns" if unit == "ns" else "", field)
    operator: Operator = match["op"]  # type: ignore[assignment]
    return Gate(text, output, where, field, operator, limit, unit)


def _where(text: str | None) -> tuple[tuple[str, str], ...]:
    if not text:
        return ()
    pairs = [part.split("=", 1) for part in text.split(",")]
    if any(len(pair) != 2 or not pair[1].strip() for pair in pairs):
        raise UsageError(f"'{{{text}}}' is not {{key=value,...}}")
    return tuple((key.strip(), value.strip()) for key, value in pairs)


def _check(
    output: str, field: str, where: tuple[tuple[str, str], ...], outputs: dict[str, Output]
) -> str:
    """The metric's unit."""
    if output in ("books", "loss"):
        _one_of(field, BOOKS if output == "books" else LOSS, output)
        return ""
    if output not in outputs:
        allowed = ", ".join((*outputs, "books", "loss"))
        raise UsageError(f"no output '{output}', allowed: {allowed}")
    declared = outputs[output]
    _check_keys(output, where, declared)
    if declared.kind == "events" and field.startswith("max("):
        columns = {f.name: f.unit for f in declared.columns if f.type == "int"}
        _one_of(field[4:-1], tuple(columns), f"max() of {output}")
        return columns[field[4:-1]]
    _one_of(field, _FIELDS[declared.kind], output)
    return "" if field in ("count", "rate") else declared.unit


def _check_keys(output: str, where: tuple[tuple[str, str], ...], declared: Output) -> None:
    columns = {f.name: f for f in declared.columns}
    if "owner_pid" in columns:
        columns.setdefault("owner_comm", columns["owner_pid"])
    for key, value in where:
        _one_of(key, tuple(columns), f"key of {output}")
        labels = columns[key].labels
        if labels:
            _one_of(value, labels, key)


def _one_of(name: str, allowed: tuple[str, ...], what: str) -> None:
    if name not in allowed:
        raise UsageError(f"{what}: '{name}' is unknown, allowed: {', '.join(allowed)}")


def _limit(text: str, unit: str, field: str) -> int:
    if unit == "ns":
        return parse_duration(text)
    number = text.removesuffix("/s") if field == "rate" else text
    if not re.fullmatch(r"\d{1,18}", number):
        note = f"; {', '.join(NS)} are for times" if re.search("[a-z]", text) else ""
        raise UsageError(f"the limit of {field} is a whole number, not '{text}'{note}")
    return int(number)
