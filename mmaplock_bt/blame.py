"""Who was waited for: joins waits with the holds of the same address space that they overlapped."""

from bisect import bisect_right
from collections import defaultdict

from mmaplock_bt.result import Row

SHOWN = 5
EXPLAINS = 0.5  # the share of a wait from which one cause is named for it
_SIDE = ("mode", "tid", "pid", "comm", "hold_ns", "kernel_stack")


def join(waits: list[Row], holds: list[Row]) -> None:
    """Gives each wait `behind` (the holds it overlapped, longest overlap first) and a `label`.

    Times are ends: `time_ns` with `wait_ns` or `hold_ns` before it.
    """
    by_mm: dict[str, list[Row]] = defaultdict(list)
    for hold in sorted(holds, key=lambda row: int(row["time_ns"])):
        by_mm[hold["mm"]].append(hold)
    ends = {mm: [row["time_ns"] for row in rows] for mm, rows in by_mm.items()}
    for wait in waits:
        mm = wait["mm"]
        first = bisect_right(ends.get(mm, []), wait["time_ns"] - wait["wait_ns"])
        found = [_overlap(wait, hold) for hold in by_mm[mm][first:]]
        found = [row for row in found if row["overlap_ns"] > 0]
        found.sort(key=lambda row: -int(row["overlap_ns"]))
        wait["behind"] = found[:SHOWN]
        wait["label"] = label(wait)


def label(wait: Row) -> str:
    """One long hold covers half the wait; else writers in turn do; else readers overtook."""
    enough = wait["wait_ns"] * EXPLAINS
    longest = max((row["overlap_ns"] for row in wait["behind"]), default=0)
    if longest >= enough:
        return "one long hold"
    if wait.get("writers_before", 0) > 1 and wait.get("write_hold_ns", 0) >= enough:
        return "a queue of writers"
    if wait.get("overtakes", 0) > 0:
        return "starved by overtaking readers"
    return "unexplained"


def _overlap(wait: Row, hold: Row) -> Row:
    start = max(wait["time_ns"] - wait["wait_ns"], hold["time_ns"] - hold["hold_ns"])
    overlap = min(wait["time_ns"], hold["time_ns"]) - start
    own = hold["tid"] == wait["tid"]
    return {key: hold[key] for key in _SIDE} | {"overlap_ns": 0 if own else overlap}
