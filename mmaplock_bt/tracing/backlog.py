"""The raw stream's first and last lines, remembered for the case that their analysis fails."""

from collections import deque

FIRST, LAST = 20_000, 60_000  # the first say who is who, the last what was counted
GAP = "lines that were not remembered: "


class Backlog:
    """Lines, as they come: so many of the first and so many of the last."""

    def __init__(self, first: int = FIRST, last: int = LAST) -> None:
        self._room = first
        self._count = 0
        self._first: list[str] = []
        self._last: deque[str] = deque(maxlen=last)

    def add(self, lines: list[str]) -> None:
        """Remembers them; no line is looked at, so that it costs next to nothing."""
        self._count += len(lines)
        if self._room > 0:
            self._first += lines[: self._room]
            lines, self._room = lines[self._room :], self._room - len(lines)
        self._last.extend(lines)

    def lines(self) -> list[str]:
        """Returns them in order; a line that is no record stands for those that are missing."""
        missing = self._count - len(self._first) - len(self._last)
        gap = [f"{GAP}{missing:,}"] if missing else []
        return [*self._first, *gap, *self._last]
