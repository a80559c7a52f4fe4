"""Convoys: a reader, the writer queued behind it, and the readers queued behind that writer."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from typing import Any

from mmaplock_bt.analysis.blame import EXPLAINS
from mmaplock_bt.analysis.naming import Rows
from mmaplock_bt.analysis.overlaps import Holds, Span, holds_of, waits_of
from mmaplock_bt.result.rows import Queued, Row


def find(waits: Rows, holds: Rows) -> list[Row]:
    """Returns a row for each read hold behind which a writer queued, and behind it readers.

    The row is the first reader's; the writer is the first that queued. Readers count that asked
    after the writer did and still waited when the first reader released.
    """
    reads = Holds.index(hold for hold in holds_of(holds) if hold.row["mode"] == "read")
    by_mm: dict[str, list[Span]] = defaultdict(list)
    writers: dict[Span, list[Span]] = defaultdict(list)
    for wait in sorted(waits_of(waits), key=began):
        by_mm[wait.mm].append(wait)
        if wait.row["mode"] == "write":
            hold = _queued_behind(wait, reads.over(wait))
            if hold is not None:
                writers[hold].append(wait)
    found = (_convoy(hold, queued, by_mm[hold.mm]) for hold, queued in writers.items())
    return [row for row in found if row is not None]


def began(wait: Span) -> int:
    """Returns when a wait began, in ns since the window's start."""
    return wait.began_ns


def _queued_behind(wait: Span, holds: list[Span]) -> Span | None:
    """The read hold that covers most of the wait, and at least half of it."""
    hold = max(holds, key=wait.overlap_ns, default=None)
    return hold if hold is not None and wait.overlap_ns(hold) >= EXPLAINS * wait.ns else None


def _convoy(hold: Span, writers: list[Span], waits: list[Span]) -> Row | None:
    """`waits` are those of the address space, by their begin."""
    writer = writers[0]
    after = bisect_right(waits, writer.began_ns, key=began)
    until = bisect_left(waits, hold.ended_ns, key=began)
    readers = [
        wait
        for wait in waits[after:until]
        if wait.row["mode"] == "read" and wait.ended_ns >= hold.ended_ns
    ]
    if not readers:
        return None
    row: Any = {
        **hold.row,
        "writer_tid": writer.tid, "writer_pid": writer.row["pid"],
        "writer_comm": writer.row["comm"], "writer_wait_ns": writer.ns,
        "writers": len(writers),
        "readers": len(readers),
        "readers_wait_ns": sum(wait.ns for wait in readers),
        "readers_max_ns": max(wait.ns for wait in readers),
        "queued": [_queued(w) for w in sorted((*writers, *readers), key=lambda wait: -wait.ns)],
    }  # fmt: skip
    return row  # type: ignore[no-any-return]


def _queued(wait: Span) -> Queued:
    row = wait.row
    return {
        "mode": row["mode"] or "", "tid": row["tid"] or 0, "pid": row["pid"] or 0,
        "comm": row["comm"], "wait_ns": wait.ns,
    }  # fmt: skip
