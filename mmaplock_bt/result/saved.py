"""The result file: written from a Result, read and checked by the same model."""

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mmaplock_bt.errors import UsageError
from mmaplock_bt.escaping import plain
from mmaplock_bt.result.model import SCHEMA, EventsData, OutputData, Result
from mmaplock_bt.result.rows import LARGEST, HistogramRow, TableRow, column
from mmaplock_bt.spec.columns import LEARNT, STANDARD, Column
from mmaplock_bt.spec.gates import QUANTILES
from mmaplock_bt.spec.outputs import KEY_TYPES, Group, Output, Outputs

# Each value takes many times the memory of its text. Three outputs of 20,000 events, with stacks,
# come to three million.
VALUES, OBJECTS = 3_200_000, 500_000
ROWS = 3  # how deep in a result file rows are: outputs, its name, rows
_OF_SOME = ("lacks", "total", "first", "counts")
_TYPES: dict[str, type] = {"int": int, "list": list, "stack": list}
_TYPES |= {"kernel_stack": list, "user_stack": list}  # all others are text
# pydantic's faults whose words are Python's.
_IN_JSON = dict.fromkeys(
    ("dict_type", "dataclass_type", "model_type", "model_attributes_type"),
    "input should be an object",
) | {"list_type": "input should be an array", "tuple_type": "input should be an array"}
_KNOWN = {*TableRow.__annotations__, *HistogramRow.__annotations__}  # typed in result/rows


def to_json(result: Result) -> str:
    """Returns the text of a result file, with a line for each row of an output."""
    bare = asdict(replace(result, declarations={}, outputs={}))  # asdict would copy each row deeply
    outputs = {name: _told(output) for name, output in result.outputs.items()}
    whole = bare | {"declarations": declared(result.declarations), "outputs": outputs}
    text = _spread(whole)
    if "\\ud" in text:  # perhaps a lone surrogate, which no reader of JSON need take
        text = _spread(_plain(whole))
    return text + "\n"


def _told(output: OutputData) -> dict[str, Any]:
    """Without what is only told of outputs that leave something out."""
    return {n: v for n, v in vars(output).items() if v or n not in _OF_SOME}


def _spread(value: Any, depth: int = 0) -> str:
    """JSON with a line for each entry down to ROWS; with an indent, json is many times slower."""
    if depth > ROWS or not value or not isinstance(value, dict | list):
        return json.dumps(value)
    if isinstance(value, dict):
        found = [f"{json.dumps(key)}: {_spread(one, depth + 1)}" for key, one in value.items()]
    else:
        found = [_spread(one, depth + 1) for one in value]
    first, last = "{}" if isinstance(value, dict) else "[]"
    end = "\n" + " " * depth
    return f"{first}{end} {f',{end} '.join(found)}{end}{last}"


def from_json(text: str | bytes) -> Result:
    """Reads a result file of schema 1 or 2. Raises UsageError: what is wrong, and where."""
    data = _parsed(text)
    try:
        if isinstance(data, dict) and data.get("schema") == 1:
            data = _of_schema_1(data)
        # Not validate_json: a wrong file of few megabytes takes gigabytes there.
        result = _adapter().validate_python(data)
    except ValidationError as error:
        first = error.errors(include_input=False, include_context=False)[0]
        raise UsageError(f"no result file: {_place(first['loc'])}: {_said(first)}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"no result file: of schema 1, but without {error}") from error
    for fault in _faults(result):
        raise UsageError(f"no result file: {fault}")
    return result


def _parsed(text: str | bytes) -> Any:
    """Raises UsageError for what is no JSON, or holds more than any result."""
    marks = (b",", b"{") if isinstance(text, bytes) else (",", "{")
    values, objects = (text.count(mark) for mark in marks)  # type: ignore[arg-type]
    if values > VALUES or objects > OBJECTS:
        raise UsageError(
            f"no result file: at most {VALUES:,} values and {OBJECTS:,} objects are read"
        )
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"no result file: not JSON: {error}") from error


def declared(outputs: Outputs) -> dict[str, Any]:
    """Returns declarations as plain data, without what has its default value."""
    return {name: output.model_dump(exclude_defaults=True) for name, output in outputs.items()}


@cache
def _adapter() -> TypeAdapter[Result]:
    return TypeAdapter(Result)


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, dict):
        return {_plain(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _place(loc: tuple[str | int, ...]) -> str:
    """Where in the file; pydantic puts the kind of a union's member behind its name."""
    tagged = loc[:1] in (("outputs",), ("declarations",))
    parts = [part for at, part in enumerate(loc) if not (tagged and at == 2)]
    return ".".join(map(str, parts)) or "the file"


def _said(fault: Any) -> str:
    said = _IN_JSON.get(fault["type"], fault["msg"])
    return f"{said[0].lower()}{said[1:]}"


def _faults(result: Result) -> Iterator[str]:
    """Where the rows are not as the declarations say."""
    if result.outputs.keys() != result.declarations.keys():
        yield "outputs and declarations do not have the same names"
        return
    for name, output in result.outputs.items():
        declaration = result.declarations[name]
        if output.kind != declaration.kind:
            yield f"outputs.{name}.kind: {output.kind}, but declared {declaration.kind}"
            return
        yield from (f"outputs.{name}.{fault}" for fault in _wrong_numbers(output))
        for turn, row in enumerate(output.rows):
            for fault in _row_faults(row, output, declaration):
                yield f"outputs.{name}.rows.{turn}.{fault}"


def _wrong_numbers(output: OutputData) -> Iterator[str]:
    """Of events of which not all are rows."""
    if not isinstance(output, EventsData) or output.total is None:
        return
    if not 0 < output.first <= len(output.rows):
        yield "first: not as many rows"
    if output.total < len(output.rows) or output.total != sum(r["count"] for r in output.counts):
        yield "total: neither rows nor counts agree with it"


def _row_faults(row: Any, output: OutputData, declaration: Output) -> Iterator[str]:
    """An event is checked by its columns, other rows by key and figures."""
    if output.kind == "events":
        yield from _wrong(row, declaration.columns)
        yield from _foreign(row, declaration.columns)
        return
    learnt = [STANDARD[n] for c in declaration.columns for n in LEARNT.get(c.name, ())]
    known = declaration.columns
    if not isinstance(declaration, Group):
        known += tuple(learnt)
    yield from (f"key.{fault}" for fault in _wrong(row["key"], known))
    yield from (f"key.{fault}" for fault in _foreign(row["key"], known))
    if output.kind == "histogram" and row["quantiles"].keys() != QUANTILES.keys():
        yield f"quantiles: {', '.join(QUANTILES)} expected"
    yield from _wrong(row, declaration.figures)
    yield from _foreign(row, declaration.figures)


def _foreign(row: Any, columns: tuple[Column, ...]) -> Iterator[str]:
    """Columns that neither the declaration nor this version knows may be of any type."""
    for name in row.keys() - _KNOWN - {one.name for one in columns}:
        if not isinstance(row[name], str | int | None) or not _is_whole(row[name]):
            yield f"{name}: this column is not declared, and no plain value"


def _is_whole(value: Any) -> bool:
    return not isinstance(value, int) or -LARGEST <= value <= LARGEST


def _wrong(row: Any, columns: tuple[Column, ...]) -> Iterator[str]:
    for one in columns:
        value = column(row, one.name)
        if one.name not in row:
            yield f"{one.name}: this column is missing"
        elif value is not None and type(value) is not _TYPES.get(one.type, str):
            yield f"{one.name}: {one.type} expected, not {value!r:.40}"
        elif not _is_whole(value):
            yield f"{one.name}: the number is too large"
        elif one.labels and value is not None and value not in one.labels:
            yield f"{one.name}: one of {', '.join(one.labels)} expected, not {value!r:.40}"


def _of_schema_1(data: dict[str, Any]) -> dict[str, Any]:
    """As schema 2; declarations are guessed from the rows, all that schema 1 kept."""
    outputs = {n: o | {"unit": o.get("unit") or "count"} for n, o in data["outputs"].items()}
    made = {name: _guessed(output) for name, output in outputs.items()}
    return data | {"schema": SCHEMA, "outputs": outputs, "declarations": made}


def _guessed(output: dict[str, Any]) -> dict[str, Any]:
    columns = [_named(name) for name in output["keys"]]
    found = {name: output[name] for name in ("kind", "title", "unit")}
    if output["kind"] == "events":
        return found | {"fields": columns or ["time_ns"], **_kind_of_events(output["keys"])}
    known = ("key", "count", "sum", "max", "buckets", "quantiles")
    further = [name for row in output["rows"][:1] for name in row if name not in known]
    named = any(STANDARD[n].type not in KEY_TYPES for n in output["keys"] if n in STANDARD)
    return found | {"keys": columns, **(_figures(further) if further or named else {})}


def _kind_of_events(names: list[str]) -> dict[str, Any]:
    """Advice has these two columns; rows with a label and no mode were write waits."""
    if names == ["run", "why"]:
        return {"advice": [{"when": "books.starts >= 0", "run": "", "why": ""}]}
    return {"mode": "write"} if "label" in names and "mode" not in names else {}


def _figures(names: list[str]) -> dict[str, Any]:
    """A table's further columns, guessed from their names."""
    if "count_permille" in names:
        return {"share_of": "unknown"}
    own = [name for name in names if not name.startswith("period_")]
    return {
        "of": "unknown", "value": "sum", "period": own != names,
        "sums": [name for name in own if name in STANDARD and STANDARD[name].unit],
        "distinct": {name: "unknown" for name in own if name not in STANDARD},
        "worst": [name for name in own if name in STANDARD and not STANDARD[name].unit],
    }  # fmt: skip


def _named(name: str) -> Any:
    """A standard column by name; another with the unit that its name ends in."""
    if name in STANDARD:
        return name
    return {"name": name, "unit": "ns" if name.endswith("_ns") else ""}
