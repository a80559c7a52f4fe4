"""Reads a printf's line of a known layout by its parts, without parsing the line as JSON.

Most lines of a big stream are such, and most of what they hold was read before: who, whose, from
where. A line that is anything else is None here, and the parser's.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

from mmaplock_bt.spec.columns import STANDARD, Column
from mmaplock_bt.stream.memo import Memo

HEAD = '{"type": "printf", "data": "'
TAIL = '\\n"}'
Read = Callable[[str], Any]
Row = tuple[Any, ...]
Taken = tuple[()]  # instead of a record: somebody took the row
Taker = Callable[[Row], Taken]


class Line(NamedTuple):
    """A kind of line: its columns, how the text of each is read, what is made of the row."""

    columns: tuple[Column, ...]
    reads: tuple[Read, ...]
    make: Callable[[Row], Any]


class Values(Mapping[str, Any]):
    """A line's values by column."""

    __slots__ = ("names", "row")

    def __init__(self, names: tuple[str, ...], row: Row) -> None:
        self.names = names
        self.row = row

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Values":
        """Makes it of any mapping."""
        return cls(tuple(values), tuple(values.values()))

    def __getitem__(self, name: str) -> Any:
        try:
            return self.row[self.names.index(name)]
        except ValueError as error:
            raise KeyError(name) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def values(self) -> Any:
        """Returns them in the columns' order."""
        return self.row

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return repr(dict(self))


class PrintedLines:
    """Reads lines of these kinds, by name."""

    def __init__(self, lines: Mapping[str, Line]) -> None:
        self._kinds = {HEAD + name: _reader(line) for name, line in lines.items()}

    def read(self, text: str) -> Any:
        """Returns what is made of a line; None where the parser is to look at it."""
        head, _, rest = text.partition("|")
        read = self._kinds.get(head)
        if read is None or not rest.endswith(TAIL):
            return None
        try:
            return read(rest)
        except ValueError:
            return None


def _reader(line: Line) -> Read:
    """Reads a line behind its name in three parts: numbers, the middle, stacks.

    Numbers are seldom the same twice; the others are looked up as they stand there, escaped. Raises
    ValueError. Closures, since each step here is paid for every line.
    """
    columns, _, make = line
    numbers = len(list(takewhile(_is_measured, columns)))
    end = len(columns) - sum(column.is_stack for column in columns)
    parts = [_part(column, read) for column, read in zip(columns, line.reads, strict=True)]
    middle = _middle(columns[numbers:end], parts[numbers:end])
    stacks = parts[end:]
    tail = len(TAIL)

    def only_numbers(rest: str) -> Any:
        return make(tuple(_integers(rest[:-tail].split("|"), numbers)))

    def flat(rest: str) -> Any:
        *found, rest = rest[:-tail].split("|", numbers)
        return make((*_integers(found, numbers), *middle(rest)))

    def with_stacks(rest: str) -> Any:
        *found, rest = rest.split("|", numbers)
        at = rest.index("|\\n")  # so a stack begins
        # In the last one a frame may hold a bar.
        texts = rest[at + 1 : -tail].split("|", len(stacks) - 1)
        shown = [read(text) for read, text in zip(stacks, texts, strict=True)]
        return make((*_integers(found, numbers), *middle(rest[:at]), *shown))

    if numbers == len(columns):
        return only_numbers
    return with_stacks if stacks else flat


def _integers(texts: list[str], expected: int) -> Iterable[int]:
    """Digits are the same in JSON; a blank, which int() would pass over, need not be."""
    if len(texts) != expected or not ("".join(texts).isdigit() or not texts):
        raise ValueError(texts)
    return map(int, texts)


def _middle(columns: Sequence[Column], parts: Sequence[Read]) -> Read:
    def row(text: str) -> Row:
        return tuple(read(part) for read, part in zip(parts, text.split("|"), strict=True))

    if any(map(_is_measured, columns)):
        return row
    return Memo[str, Row](row).__getitem__


def _part(column: Column, read: Read) -> Read:
    def plain(text: str) -> Any:
        return read(_plain(text))

    return plain if _is_measured(column) else Memo[str, Any](plain).__getitem__


def _is_measured(column: Column) -> bool:
    return column.type == "int" and (bool(column.unit) or column.name not in STANDARD)


def _plain(text: str) -> str:
    r"""Undoes JSON's escapes. Raises ValueError where split() may have seen other bars than there
    are (\u007c), and for bytes of a dialect (\uffffffc3).
    """
    if "\\u" in text:
        raise ValueError(text)
    return str(json.loads(f'"{text}"'))
