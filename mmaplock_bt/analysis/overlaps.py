"""Waits and holds as spans of time on an address space, and which of them overlap."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from mmaplock_bt.result.rows import Row


@dataclass(frozen=True, eq=False, slots=True)
class Span:
    """A wait or hold, with its row; times are ns since the window's start."""

    row: Row
    mm: str
    tid: int | None
    began_ns: int
    ended_ns: int

    @classmethod
    def of(cls, row: Row, length: Literal["wait_ns", "hold_ns"]) -> "Span":
        """Makes a span of a row, which tells its end (`time_ns`) and its length."""
        ended_ns = row["time_ns"] or 0
        return cls(row, row["mm"] or "", row["tid"], ended_ns - (row[length] or 0), ended_ns)

    @property
    def ns(self) -> int:
        """Its length in ns."""
        return self.ended_ns - self.began_ns

    def overlap_ns(self, other: "Span") -> int:
        """Returns for how many ns both lasted at once; negative where they did not meet."""
        return min(self.ended_ns, other.ended_ns) - max(self.began_ns, other.began_ns)


def waits_of(rows: Iterable[Row]) -> list[Span]:
    """Returns the spans of rows with `wait_ns`."""
    return [Span.of(row, "wait_ns") for row in rows]


def holds_of(rows: Iterable[Row]) -> list[Span]:
    """Returns the spans of rows with `hold_ns`."""
    return [Span.of(row, "hold_ns") for row in rows]


@dataclass
class Holds:
    """Holds by address space and end, so that those over a wait are found without a scan."""

    by_mm: dict[str, list[Span]] = field(default_factory=lambda: defaultdict(list))
    ends: dict[str, list[int]] = field(default_factory=dict)
    longest: dict[str, int] = field(default_factory=dict)

    @classmethod
    def index(cls, holds: Iterable[Span]) -> "Holds":
        """Sorts holds into an index."""
        found = cls()
        for hold in sorted(holds, key=lambda hold: hold.ended_ns):
            found.by_mm[hold.mm].append(hold)
        found.ends = {mm: [h.ended_ns for h in holds] for mm, holds in found.by_mm.items()}
        found.longest = {mm: max(h.ns for h in holds) for mm, holds in found.by_mm.items()}
        return found

    def over(self, wait: Span) -> list[Span]:
        """Returns other threads' holds of the same lock that overlap a wait."""
        if wait.mm not in self.by_mm:
            return []
        first = bisect_right(self.ends[wait.mm], wait.began_ns)
        # A hold that ends later than this began after the wait had ended.
        last = bisect_right(self.ends[wait.mm], wait.ended_ns + self.longest[wait.mm])
        return [
            hold
            for hold in self.by_mm[wait.mm][first:last]
            if hold.began_ns < wait.ended_ns and hold.tid != wait.tid
        ]
