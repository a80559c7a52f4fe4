"""The raw stream's first and last lines, remembered for the case that their analysis fails."""

from collections import deque

FIRST, LAST = 2 << 20, 6 << 20  # characters; the first say who is who, the last what was counted
GAP = "lines that were not remembered: "


class Backlog:
    """Lines, as they come: of the first and of the last about so many characters."""

    def __init__(self, first: int = FIRST, last: int = LAST) -> None:
        self._room, self._most = first, last
        self._count = 0
        self._first: list[str] = []
        self._last: deque[str] = deque()
        self._size = 0

    def add(self, lines: list[str]) -> None:
        """Remembers them; what they say is not looked at, so that it costs next to nothing."""
        self._count += len(lines)
        size = sum(map(len, lines))
        if self._room > 0:
            self._room -= size
            self._first += lines
            return
        self._last.extend(lines)
        self._size += size
        while self._size > self._most and len(self._last) > 1:
            self._size -= len(self._last.popleft())

    def lines(self) -> list[str]:
        """Returns them in order; a line that is no record stands for those that are missing."""
        missing = self._count - len(self._first) - len(self._last)
        gap = [f"{GAP}{missing:,}"] if missing else []
        return [*self._first, *gap, *self._last]
