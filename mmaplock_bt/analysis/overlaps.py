"""Waits and holds as spans of time on an address space, and which of them overlap."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from mmaplock_bt.analysis.naming import Rows


@dataclass(eq=False, slots=True)
class Span:
    """A wait or hold, with what is known of it; times are ns since the window's start.

    Not frozen: that takes twice as long to make, and there may be hundreds of thousands.
    """

    row: Any
    mm: str
    tid: int | None
    began_ns: int
    ended_ns: int

    @classmethod
    def of(
        cls, row: Any, time_ns: int | None, ns: int | None, mm: str | None, tid: int | None
    ) -> "Span":
        """Makes a span that ended at `time_ns` after `ns`."""
        ended_ns = time_ns or 0
        return cls(row, mm or "", tid, ended_ns - (ns or 0), ended_ns)

    @property
    def ns(self) -> int:
        """Its length in ns."""
        return self.ended_ns - self.began_ns

    def overlap_ns(self, other: "Span") -> int:
        """Returns for how many ns both lasted at once; negative where they did not meet."""
        return min(self.ended_ns, other.ended_ns) - max(self.began_ns, other.began_ns)


def waits_of(rows: Rows) -> list[Span]:
    """Returns the spans of rows with `wait_ns`."""
    return _spans(rows, "wait_ns")


def holds_of(rows: Rows) -> list[Span]:
    """Returns the spans of rows with `hold_ns`."""
    return _spans(rows, "hold_ns")


def _spans(rows: Rows, length: str) -> list[Span]:
    told = rows.columns(("time_ns", length, "mm", "tid"))
    return [Span.of(row, *one) for row, one in zip(rows.rows, told, strict=True)]


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
        ends = self.ends.get(wait.mm)
        if ends is None:
            return []
        first = bisect_right(ends, wait.began_ns)
        # A hold that ends later than this began after the wait had ended.
        last = bisect_right(ends, wait.ended_ns + self.longest[wait.mm], first)
        return [
            hold
            for hold in self.by_mm[wait.mm][first:last]
            if hold.began_ns < wait.ended_ns and hold.tid != wait.tid
        ]
