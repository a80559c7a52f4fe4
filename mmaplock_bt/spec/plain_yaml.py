"""YAML as plain data of bounded size: no tags, no aliases, nothing that a few bytes make huge.

Of YAML 1.1's plain scalars only integers, true, false and null are kept: PyYAML alone would read
`on` as true, `1:30` as 90, and silently take the last of two equal keys.

Imports little: `list` reads with it. (dataclasses and typing take longer than PyYAML.)
"""

from __future__ import annotations

import re

import yaml

from mmaplock_bt.errors import UsageError
from mmaplock_bt.escaping import shown
from mmaplock_bt.units import parse_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

Path = tuple[str | int, ...]
MAX_DEPTH = 16  # a declaration has 5
MAX_NODES = 10_000  # the largest that is shipped has 500
MAX_FAULTS = 50  # that are told
NAME_LETTERS = 300
MESSAGE_LETTERS = 1000
# libyaml's, where there is one: ten times as fast.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER = re.compile(r"-?[0-9]+")


class Faults(UsageError):
    """Faults of files, one a line, each with its place."""


class Document:
    """A parsed file: plain data, the position of every path in it, the faults found so far."""

    def __init__(self, name: str, first_line: int = 1) -> None:
        self.name = name
        self.first_line = first_line
        self.data: Any = None
        self.marks: dict[Path, tuple[int, int]] = {}
        self.texts: dict[Path, tuple[int, int]] = {}  # of scalars on one line
        self.faults: list[tuple[int, int, str]] = []
        self.others: list[str] = []  # faults of files that this one names

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
        dotted = ".".join(shown(part) for part in path)
        self.faults.append((line, column, f"{dotted}: {message}" if dotted else message))

    def raise_faults(self) -> None:
        """Raises Faults with the faults, in the file's order; does nothing if none."""
        name = shown(self.name, NAME_LETTERS)
        lines = [
            f"{name}:{line}:{column}: {shown(text, MESSAGE_LETTERS)}"
            for line, column, text in sorted(self.faults)
        ]
        if len(lines) > MAX_FAULTS:
            lines[MAX_FAULTS:] = [f"{name}: {len(lines) - MAX_FAULTS:,} faults more"]
        if lines or self.others:
            raise Faults(*lines, *self.others)


def load(text: str, name: str, first_line: int = 1) -> Document:
    """Parses one YAML mapping that begins on `first_line` of the file `name`.

    Duplicate keys become faults of the document; broken YAML, and what no profile needs of YAML,
    raises UsageError.
    """
    document = Document(name, first_line=first_line)
    named = shown(name, NAME_LETTERS)
    try:
        _check_bounds(text)
        node = yaml.compose(text, Loader=_LOADER)
        document.data = {} if node is None else _plain(node, (), document)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line, column = (mark.line + first_line, mark.column + 1) if mark else (first_line, 1)
        raise UsageError(f"{named}:{line}:{column}: not YAML: {shown(error.problem)}") from error
    except yaml.reader.ReaderError as error:
        line = first_line + text.count("\n", 0, error.position)
        raise UsageError(f"{named}:{line}:1: not YAML: a control character") from error
    except _Unwanted as error:
        line, column = error.mark.line + first_line, error.mark.column + 1
        raise UsageError(f"{named}:{line}:{column}: {error}") from error
    if not isinstance(document.data, dict):
        raise UsageError(f"{named}:{first_line}:1: expected a mapping of keys to values")
    return document


class _Unwanted(Exception):
    """YAML that is not read here, and where it stands."""

    def __init__(self, sentence: str, mark: Any) -> None:
        super().__init__(sentence)
        self.mark = mark


def _check_bounds(text: str) -> None:
    """Looks at the parser's events, one by one, before anything is built of them."""
    depth = nodes = 0
    for event in yaml.parse(text, Loader=_LOADER):
        is_node = isinstance(event, yaml.NodeEvent)
        nodes += is_node
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if is_node and (sentence := _unwanted(event, depth, nodes)):
            raise _Unwanted(sentence, event.start_mark)


def _unwanted(event: Any, depth: int, nodes: int) -> str:
    if isinstance(event, yaml.AliasEvent):
        return f"no aliases: write out what *{shown(event.anchor)} stands for"
    if event.tag is not None:
        return f"no tags, like {shown(event.tag)}: the keys say what a value is"
    if depth > MAX_DEPTH:
        return f"nested too deeply: at most {MAX_DEPTH} levels"
    return f"too long: at most {MAX_NODES:,} keys and values" if nodes > MAX_NODES else ""


def _plain(node: yaml.Node, path: Path, document: Document) -> Any:
    document.marks.setdefault(path, _mark(node, document))
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, document)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*path, index), document) for index, item in enumerate(node.value)]
    if isinstance(node, yaml.ScalarNode) and node.start_mark.line == node.end_mark.line:
        line, column = _mark(node, document)
        document.texts[path] = line, column + _is_quoted(node)  # after an opening quote
    return _scalar(node)


def _mapping(node: yaml.MappingNode, path: Path, document: Document) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            document.faults.append((*_mark(key_node, document), "a key is one word"))
            continue
        key = str(key_node.value)
        here = (*path, key)
        if key in data:
            line, column = _mark(key_node, document)
            first = document.marks[here][0]
            message = f"{shown(key)}: given twice (first on line {first})"
            document.faults.append((line, column, message))
            continue
        document.marks[here] = _mark(key_node, document)
        data[key] = _plain(value_node, here, document)
    return data


def _scalar(node: yaml.Node) -> Any:
    text = str(node.value)
    if _is_quoted(node):
        return text
    if _INTEGER.fullmatch(text):
        return _integer(text, node.start_mark)
    if text in ("true", "false"):
        return text == "true"
    return None if text in ("", "~", "null") else text


def _integer(text: str, mark: Any) -> int:
    try:
        return parse_whole(text)
    except UsageError as error:
        raise _Unwanted(f"a number of {len(text):,} digits: at most 18 are read", mark) from error


def _is_quoted(node: yaml.Node) -> bool:
    """The pure loader has None for a plain scalar, libyaml's an empty text."""
    return isinstance(node, yaml.ScalarNode) and bool(node.style)


def _mark(node: yaml.Node, document: Document) -> tuple[int, int]:
    return node.start_mark.line + document.first_line, node.start_mark.column + 1
