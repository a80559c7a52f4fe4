"""Which rows of an output stay: all while they are few, else the first by rank and a sample."""

import heapq
import math
import random
from collections.abc import Callable, Sequence
from typing import Any

FIRST, SAMPLE = 10_000, 10_000
SEED = 23  # the same stream yields the same sample
Raw = tuple[Any, ...]
Placed = tuple[int, Raw]  # a row with its place in the stream


class Kept:
    """Rows as they pass; `rank` tells how far in front one belongs, larger is further.

    All are kept up to `first` + SAMPLE of them, then the `first` by rank, and a sample of all in
    which each is as likely as any other (Vitter's algorithm R, with Li's skips).
    """

    def __init__(self, rank: Callable[[Raw], int], first: int = FIRST) -> None:
        self.total = 0
        self.rank = rank
        self._first = first
        self._all: list[Raw] = []
        self._top: list[tuple[int, int, Raw]] = []  # a heap of (rank, -place, row)
        self._sample: list[Placed] = []
        self._luck = random.Random(SEED)
        self._share = 1.0
        self._next = 0

    @property
    def is_whole(self) -> bool:
        """Whether nothing was dropped."""
        return not self._top

    def add(self, rows: Sequence[Raw]) -> None:
        """Takes the next rows."""
        start, self.total = self.total, self.total + len(rows)
        if not self.is_whole:
            self._choose(rows, start)
            return
        self._all += rows
        if len(self._all) > self._first + SAMPLE:
            self._begin()

    def rows(self) -> list[Raw]:
        """Returns FIRST rows by rank and the sample, or all, in the stream's order."""
        if self.is_whole and self.total <= FIRST + SAMPLE:
            return self._all
        sample = self._sample
        if self.is_whole:
            places = random.Random(SEED).sample(range(self.total), SAMPLE)
            sample = [(place, self._all[place]) for place in places]
        return _in_order(dict(self._leading(FIRST)) | dict(sample))

    def ranked(self) -> list[Raw]:
        """Returns `first` rows by rank, or all, the largest rank first."""
        if self.is_whole:
            return sorted(self._all, key=self.rank, reverse=True)
        # Most of it is in order already, and that is what sorting goes by.
        self._top.sort()
        return [row for *_, row in reversed(self._top)]

    def _leading(self, most: int) -> list[Placed]:
        ranked = self._ranked(self._all) if self.is_whole else self._top
        # Of many heapq.nlargest takes many times as long, and a heap is nearly sorted.
        return [(-place, row) for _, place, row in sorted(ranked)[-most:]]

    def _ranked(self, rows: Sequence[Raw]) -> list[tuple[int, int, Raw]]:
        return [(self.rank(row), -place, row) for place, row in enumerate(rows)]

    def _begin(self) -> None:
        """From here on not all are kept."""
        rows, self._all = self._all, []
        self._top = sorted(self._ranked(rows))[-self._first :]  # and a heap
        self._sample = list(enumerate(rows[:SAMPLE]))
        self._next = SAMPLE - 1
        self._skip()
        self._draw(rows, 0)

    def _choose(self, rows: Sequence[Raw], start: int) -> None:
        top, least = self._top, self._top[0][0]
        for place, rank in enumerate(map(self.rank, rows), start):
            if rank > least:
                heapq.heapreplace(top, (rank, -place, rows[place - start]))
                least = top[0][0]
        self._draw(rows, start)

    def _draw(self, rows: Sequence[Raw], start: int) -> None:
        while self._next < start + len(rows):
            place = self._luck.randrange(SAMPLE)
            self._sample[place] = (self._next, rows[self._next - start])
            self._skip()

    def _skip(self) -> None:
        """Works out the next row that gets into the sample."""
        self._share *= math.exp(math.log(1 - self._luck.random()) / SAMPLE)
        gap = math.log(1 - self._luck.random()) / math.log1p(-self._share)
        self._next += 1 + int(gap)


def _in_order(placed: dict[int, Raw]) -> list[Raw]:
    return [placed[place] for place in sorted(placed)]
