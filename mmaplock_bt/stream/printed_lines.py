"""Reads many printf lines of one layout at once, column by column, without parsing them as JSON.

Most lines of a big stream are such, and most of what they hold was read before: who, whose, from
where. Lines that are anything else are the parser's.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mmaplock_bt.spec.columns import STANDARD, Column
from mmaplock_bt.stream.memo import Memo

HEAD = '{"type": "printf", "data": "'
DIGITS = 20  # of a number of 64 bits, at most
TAIL = '\\n"}'
Read = Callable[[str], Any]
Row = tuple[Any, ...]
ReadAll = Callable[[Sequence[str]], Iterable[Any]]


def head_of(line: str) -> str:
    """Returns a line up to the first bar: of a printf, HEAD and its name."""
    return line[: line.find("|")]


class PrintedLines:
    """Reads lines of one kind: its columns, and how the text of each is read."""

    def __init__(self, columns: Sequence[Column], reads: Sequence[Read]) -> None:
        self._columns: list[ReadAll] = []
        for column, read in zip(columns, reads, strict=True):
            is_last = len(self._columns) == len(columns) - 1
            self._columns.append(_column(column, read, is_last=is_last))

    def rows(self, lines: Sequence[str]) -> list[Row]:
        """Returns the lines' values. Raises ValueError where one of them is the parser's."""
        # No more parts than columns: a frame, printed last, may hold a bar.
        parts = [line.split("|", len(self._columns)) for line in lines]
        _, *texts = zip(*parts, strict=True)
        found = [read(column) for read, column in zip(self._columns, texts, strict=True)]
        return list(zip(*found, strict=True))


def _column(column: Column, read: Read, *, is_last: bool) -> ReadAll:
    """Numbers that are measured are seldom the same twice; other texts are looked up as they are
    printed, escaped.
    """
    if _is_measured(column):
        return _last_integers if is_last else _integers

    def value(text: str) -> Any:
        return read(_plain(_ended(text) if is_last else text))

    memo = Memo[str, Any](value)
    return lambda texts: map(memo.__getitem__, texts)


def _integers(texts: Sequence[str]) -> Iterable[int]:
    """Digits are the same in JSON; a blank, which int() would pass over, need not be."""
    joined = "".join(texts)
    if not joined.isascii() or not joined.isdigit() or max(map(len, texts)) > DIGITS:
        raise ValueError("no numbers")
    return map(int, texts)


def _last_integers(texts: Sequence[str]) -> Iterable[int]:
    return _integers([_ended(text) for text in texts])


def _ended(text: str) -> str:
    if not text.endswith(TAIL):
        raise ValueError(text)
    return text[: -len(TAIL)]


def _is_measured(column: Column) -> bool:
    return column.type == "int" and (bool(column.unit) or column.name not in STANDARD)


def _plain(text: str) -> str:
    r"""Undoes JSON's escapes. Raises ValueError where split() may have seen other bars than there
    are (\u007c), and for bytes of a dialect (\uffffffc3).
    """
    if "\\u" in text:
        raise ValueError(text)
    return str(json.loads(f'"{text}"'))
