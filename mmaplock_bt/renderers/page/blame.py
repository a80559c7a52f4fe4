"""Who waited for whom: the charges of waits to holds, one by one and summed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mmaplock_bt.escaping import safe
from mmaplock_bt.renderers.page.sheets import Cell, Line, Sheet
from mmaplock_bt.result.model import Result
from mmaplock_bt.result.rows import column
from mmaplock_bt.spec.outputs import Derived
from mmaplock_bt.units import format_ns

MOST = 200  # rows
HEADS = [("Who waited", False), ("For whom", False), ("Doing what", False), ("Waited", True),
         ("Parts of waits", True), ("Longest", True)]  # fmt: skip
Side = tuple[str, str, str]  # who waited, for whom, doing what


@dataclass
class Sum:
    """The charges of one kind: ns, how many, the longest in ns."""

    ns: int = 0
    count: int = 0
    longest_ns: int = 0

    def add(self, ns: int) -> None:
        """Adds a charge."""
        self.ns += ns
        self.count += 1
        self.longest_ns = max(self.longest_ns, ns)


def rows(run: Result) -> Iterator[Any]:
    """Yields the rows that charge parts of waits to holds, or to none."""
    for name, one in run.declarations.items():
        if isinstance(one, Derived) and one.derive.by == "charges":
            yield from run.events(name)


def side(row: Any) -> Side:
    """Returns who waited for whom, and why."""
    is_charged = row.get("charged") == "charged"
    culprit = safe(row.get("culprit") or "unknown") if is_charged else "no recorded hold"
    return safe(row.get("victim") or "unknown"), culprit, safe(row.get("cause") or "unknown")


def sheet(run: Result) -> Sheet | None:
    """Returns the sums, the largest first; None for a profile that charges nothing."""
    sums: dict[Side, Sum] = {}
    for row in rows(run):
        sums.setdefault(side(row), Sum()).add(column(row, "charged_ns") or 0)
    if not sums:
        return None
    ranked = sorted(sums.items(), key=lambda item: -item[1].ns)
    lines = [
        Line([*map(Cell, names), Cell(format_ns(one.ns), one.ns), Cell(f"{one.count:,}", one.count),
              Cell(format_ns(one.longest_ns), one.longest_ns)])
        for names, one in ranked[:MOST]
    ]  # fmt: skip
    left = [f"The first {MOST} of {len(ranked):,} rows."] if len(ranked) > MOST else []
    return Sheet("sums", "Who waited for whom", HEADS, lines, left, [])
