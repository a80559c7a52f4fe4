"""YAML that remembers where everything stood, so that every fault has a line and a column.

Of YAML 1.1's plain scalars only integers, true, false and null are kept: PyYAML alone would read
`on` as true, `1:30` as 90, and silently take the last of two equal keys.
"""

import pathlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, Tag, ValidationError

from mmaplock_bt.errors import UsageError

Path = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)


@dataclass
class Document:
    """A parsed file: plain data, the position of every path in it, the faults found so far."""

    name: str
    data: Any = None
    marks: dict[Path, tuple[int, int]] = field(default_factory=dict)
    texts: dict[Path, tuple[int, int]] = field(default_factory=dict)  # of scalars on one line
    faults: list[tuple[int, int, str]] = field(default_factory=list)
    others: list[str] = field(default_factory=list)  # faults of files that this one names
    first_line: int = 1

    def place(self, path: Path) -> tuple[int, int]:
        """Returns line and column of `path`, or of its nearest parent that is in the file."""
        while path and path not in self.marks:
            path = path[:-1]
        return self.marks.get(path, (self.first_line, 1))

    def fault(self, path: Path, message: str, offset: int | None = None) -> None:
        """Notes a fault at `path`; with `offset` (from 0), at that character of its text."""
        line, column = self.place(path)
        if offset is not None and path in self.texts:
            line, column = self.texts[path][0], self.texts[path][1] + offset
        dotted = ".".join(str(part) for part in path)
        self.faults.append((line, column, f"{dotted}: {message}" if dotted else message))

    def raise_faults(self) -> None:
        """Raises Faults with all faults, in the file's order; does nothing if none."""
        lines = [f"{self.name}:{line}:{col}: {text}" for line, col, text in sorted(self.faults)]
        if lines or self.others:
            raise Faults(*lines, *self.others)


class Faults(UsageError):
    """Faults of files, one a line, each with its place."""


def read(path: pathlib.Path, what: str) -> str:
    """Returns the text of a user's file; `what` names it in the message. Raises UsageError."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read the {what} {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"the {what} {path} is not UTF-8 text") from error


def load(text: str, name: str, first_line: int = 1) -> Document:
    """Parses one YAML mapping that begins on `first_line` of the file `name`.

    Duplicate keys become faults of the document; broken YAML raises UsageError.
    """
    document = Document(name, first_line=first_line)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line, column = (mark.line + first_line, mark.column + 1) if mark else (first_line, 1)
        raise UsageError(f"{name}:{line}:{column}: not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{name}:{first_line}:1: not YAML: {error}") from error
    document.data = {} if node is None else _plain(node, (), document)
    if not isinstance(document.data, dict):
        raise UsageError(f"{name}:{first_line}:1: expected a mapping of keys to values")
    return document


def check(document: Document, model: type[Model]) -> Model | None:
    """Validates the data by a model; what pydantic finds joins the document's faults.

    Returns the model of the top-level keys without faults, so that the caller can look for more
    before raise_faults(); None where even that is invalid.
    """
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        for fault in error.errors():
            document.fault(_in_file(fault["loc"], model), sentence(fault, model))
        wrong = {fault["loc"][0] for fault in error.errors() if fault["loc"]}
    try:
        return model.model_validate({k: v for k, v in document.data.items() if k not in wrong})
    except ValidationError:
        return None


def _plain(node: yaml.Node, path: Path, document: Document) -> Any:
    document.marks.setdefault(path, _mark(node, document))
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, document)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*path, index), document) for index, item in enumerate(node.value)]
    if isinstance(node, yaml.ScalarNode) and node.start_mark.line == node.end_mark.line:
        line, column = _mark(node, document)
        document.texts[path] = line, column + (node.style is not None)  # after an opening quote
    return _scalar(node)


def _mapping(node: yaml.MappingNode, path: Path, document: Document) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(key_node.value)
        here = (*path, key)
        if key in data:
            line, column = _mark(key_node, document)
            first = document.marks[here][0]
            document.faults.append((line, column, f"{key}: given twice (first on line {first})"))
            continue
        document.marks[here] = _mark(key_node, document)
        data[key] = _plain(value_node, here, document)
    return data


def _scalar(node: yaml.Node) -> Any:
    text = str(node.value)
    if isinstance(node, yaml.ScalarNode) and node.style is None:
        if re.fullmatch(r"-?\d+", text):
            return int(text)
        if text in ("true", "false"):
            return text == "true"
        if text in ("", "~", "null"):
            return None
    return text


def _mark(node: yaml.Node, document: Document) -> tuple[int, int]:
    return node.start_mark.line + document.first_line, node.start_mark.column + 1


def sentence(fault: Any, model: type[BaseModel]) -> str:
    """Writes one of pydantic's faults as a short sentence."""
    if fault["type"] == "extra_forbidden":
        return f"unknown key{_allowed(model, fault['loc'])}"
    if fault["type"] == "value_error":
        return str(fault["ctx"]["error"])
    if fault["type"] == "missing":
        return "this key is missing"
    return f"{fault['msg'][0].lower()}{fault['msg'][1:]}"


def _allowed(model: type[BaseModel], loc: Path) -> str:
    """The keys allowed beside an unknown one."""
    at: Any = model
    for part in loc[:-1]:
        at, _ = _step(at, part)
    keys = [key for _, kind in _kinds(at) for key in getattr(kind, "model_fields", {})]
    return f", allowed: {', '.join(keys)}" if keys else ""


def _in_file(loc: Path, model: type[BaseModel]) -> Path:
    """A fault's path as it stands in the file: without the tags of a union's members."""
    at: Any = model
    path: Path = ()
    for part in loc:
        at, is_tag = _step(at, part)
        path = path if is_tag else (*path, part)
    return path


def _step(annotation: Any, part: str | int) -> tuple[Any, bool]:
    """The type at `part` of a type, and whether the part is a union's tag; None: unknown."""
    for tag, kind in _kinds(annotation):
        if tag is not None and tag == part:
            return kind, True
        if part in getattr(kind, "model_fields", {}):
            return kind.model_fields[part].annotation, False
        if get_origin(kind) in (dict, list):
            return get_args(kind)[-1], False
    return None, False


def _kinds(annotation: Any, tag: str | None = None) -> Iterator[tuple[str | None, Any]]:
    """A type's alternatives, each with its tag."""
    if get_origin(annotation) is Annotated:
        inner, *marks = get_args(annotation)
        named = next((mark.tag for mark in marks if isinstance(mark, Tag)), tag)
        yield from _kinds(inner, named)
    elif get_origin(annotation) in (Union, UnionType):
        for one in get_args(annotation):
            yield from _kinds(one, tag)
    elif annotation is not None:
        yield tag, annotation
