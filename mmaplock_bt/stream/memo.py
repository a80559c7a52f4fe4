"""A bounded memory of a function: what is looked up again costs no more than a dictionary."""

from collections.abc import Callable, Hashable, Sized
from typing import Protocol, TypeVar


class _Key(Hashable, Sized, Protocol):
    """A text or a stack."""


Key = TypeVar("Key", bound=_Key)
Value = TypeVar("Value")
ROOM, LONGEST = 8192, 16384


class Memo(dict[Key, Value]):
    """`memo[key]` is `function(key)`, worked out once; emptied when it is full.

    A key that is longer than LONGEST is not kept, nor one for which the function raises.
    """

    def __init__(self, function: Callable[[Key], Value], room: int = ROOM) -> None:
        super().__init__()
        self._function = function
        self._room = room

    def __missing__(self, key: Key) -> Value:
        value = self._function(key)
        if len(key) <= LONGEST:
            if len(self) >= self._room:
                self.clear()
            self[key] = value
        return value
