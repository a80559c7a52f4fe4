"""A bounded memory of what a stream tells: a window lasts for weeks, a file is of any length."""

from collections import OrderedDict
from typing import TypeVar

MOST = 16_384  # as many as a map of the script holds, unless the profile says otherwise
Key = TypeVar("Key")
Value = TypeVar("Value")


class Recent(OrderedDict[Key, Value]):
    """A dictionary of the `most` that were told last; `forgotten` counts those that had to go.

    An id may belong to another by then: what was told long ago is the least likely to be asked for.
    """

    def __init__(self, most: int | None = None) -> None:
        super().__init__()
        self._most = MOST if most is None else most
        self.forgotten = 0

    def __setitem__(self, key: Key, value: Value) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        if len(self) > self._most:
            self.popitem(last=False)
            self.forgotten += 1
