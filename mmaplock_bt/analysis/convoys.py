"""Convoys: a reader, the writer queued behind it, and the readers queued behind that writer."""

from bisect import bisect_left, bisect_right
from collections import defaultdict

from mmaplock_bt.analysis.blame import EXPLAINS, Holds, overlap_ns
from mmaplock_bt.result.model import Row

_WAITER = ("mode", "tid", "pid", "comm", "wait_ns")


def find(waits: list[Row], holds: list[Row]) -> list[Row]:
    """One row for each read hold behind which a writer queued and, behind the writer, readers.

    The row is the first reader's; the writer is the first that queued. Readers count when they
    asked after the writer did and still waited when the first reader let go.
    """
    reads = Holds.of([hold for hold in holds if hold["mode"] == "read"])
    by_mm: dict[str, list[Row]] = defaultdict(list)
    first: dict[int, tuple[Row, list[Row]]] = {}
    for wait in sorted(waits, key=began):
        by_mm[wait["mm"]].append(wait)
        if wait["mode"] == "write":
            hold = _queued_behind(wait, reads.over(wait))
            if hold is not None:
                first.setdefault(id(hold), (hold, []))[1].append(wait)
    found = (_convoy(hold, writers, by_mm[hold["mm"]]) for hold, writers in first.values())
    return [row for row in found if row is not None]


def began(wait: Row) -> int:
    return int(wait["time_ns"] - wait["wait_ns"])


def _queued_behind(wait: Row, holds: list[Row]) -> Row | None:
    """The read hold that covers most of the wait, and at least half of it."""
    hold = max(holds, key=lambda hold: overlap_ns(wait, hold), default=None)
    enough = EXPLAINS * wait["wait_ns"]
    return hold if hold is not None and overlap_ns(wait, hold) >= enough else None


def _convoy(hold: Row, writers: list[Row], waits: list[Row]) -> Row | None:
    """`waits` are the address space's, in the order of their beginnings."""
    writer = writers[0]
    after = bisect_right(waits, began(writer), key=began)
    until = bisect_left(waits, hold["time_ns"], key=began)
    readers = [
        wait
        for wait in waits[after:until]
        if wait["mode"] == "read" and wait["time_ns"] >= hold["time_ns"]
    ]
    if not readers:
        return None
    queued = sorted((*writers, *readers), key=lambda wait: -int(wait["wait_ns"]))
    return hold | {
        "writer_tid": writer["tid"], "writer_pid": writer["pid"], "writer_comm": writer["comm"],
        "writer_wait_ns": writer["wait_ns"],
        "writers": len(writers),
        "readers": len(readers),
        "readers_wait_ns": sum(int(wait["wait_ns"]) for wait in readers),
        "readers_max_ns": max(int(wait["wait_ns"]) for wait in readers),
        "queued": [{key: wait[key] for key in _WAITER} for wait in queued],
    }  # fmt: skip
