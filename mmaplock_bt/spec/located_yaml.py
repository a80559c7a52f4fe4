"""YAML that remembers where everything stood, so that every fault has a line and a column.

Scalars follow YAML 1.2's core: `on` is text and `1:30` is not ninety (PyYAML alone reads YAML 1.1).
"""

import pathlib
import re
from dataclasses import dataclass, field
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from mmaplock_bt.errors import UsageError

Path = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)


@dataclass
class Document:
    """A parsed file: plain data, the position of every path, and the faults found so far."""

    name: str
    data: Any = None
    marks: dict[Path, tuple[int, int]] = field(default_factory=dict)
    texts: dict[Path, tuple[int, int]] = field(default_factory=dict)  # of scalars on one line
    faults: list[tuple[int, int, str]] = field(default_factory=list)
    first_line: int = 1

    def place(self, path: Path) -> tuple[int, int]:
        """Line and column of `path`, or of the nearest parent that stands in the file."""
        while path and path not in self.marks:
            path = path[:-1]
        return self.marks.get(path, (self.first_line, 1))

    def fault(self, path: Path, message: str, offset: int | None = None) -> None:
        """Notes a fault at `path`; with an offset at that character of the text there."""
        line, column = self.place(path)
        if offset is not None and path in self.texts:
            line, column = self.texts[path][0], self.texts[path][1] + offset
        dotted = ".".join(str(part) for part in path)
        self.faults.append((line, column, f"{dotted}: {message}" if dotted else message))

    def raise_faults(self) -> None:
        """All faults at once, in the file's order. Raises UsageError when there are any."""
        if self.faults:
            lines = (f"{self.name}:{line}:{col}: {text}" for line, col, text in sorted(self.faults))
            raise UsageError("\n".join(lines))


def read(path: pathlib.Path, what: str) -> str:
    """The text of a user's file. Raises UsageError."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read the {what} {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"the {what} {path} is not UTF-8 text") from error


def load(text: str, name: str, first_line: int = 1) -> Document:
    """Parses one YAML mapping. Duplicate keys become faults; broken YAML raises UsageError."""
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
    """Validates the data; what pydantic finds joins the document's faults.

    Returns the model of the faultless top-level keys, so that the caller can go on to find more
    before raise_faults(); None where even that is not possible.
    """
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        for fault in error.errors():
            document.fault(tuple(fault["loc"]), sentence(fault, model))
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
        document.texts[path] = line, column + (node.style is not None)  # behind the quote
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
    """One of pydantic's faults in this project's words."""
    if fault["type"] == "extra_forbidden":
        return f"unknown key{_allowed(model, fault['loc'])}"
    if fault["type"] == "value_error":
        return str(fault["ctx"]["error"])
    return f"{fault['msg'][0].lower()}{fault['msg'][1:]}"


def _allowed(model: type[BaseModel], loc: Path) -> str:
    """The keys allowed beside an unknown one."""
    fields = model.model_fields
    for part in loc[:-1]:
        inner = fields.get(str(part))
        candidates = [] if inner is None else [inner.annotation, *_args(inner.annotation)]
        found = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        if not found:
            return ""
        fields = found[0].model_fields
    return f", allowed: {', '.join(fields)}"


def _args(annotation: Any) -> tuple[Any, ...]:
    return getattr(annotation, "__args__", ())
