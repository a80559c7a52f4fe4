"""Who was waited for: joins waits with the holds of the same address space that they overlapped.

Times are ends: `time_ns`, with `wait_ns` or `hold_ns` before it.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from mmaplock_bt.result.model import Row

SHOWN = 5
EXPLAINS = 0.5  # the share of a wait from which one cause is named for it
_SIDE = ("mode", "tid", "pid", "comm", "hold_ns", "cause", "kernel_stack")
_CHARGED_TO = (
    *("pid", "tid", "comm", "actor_kind", "owner_pid", "owner_comm", "owner_kind", "cgroup", "mm"),
    *("mode", "hold_ns", "cause", "kernel_stack"),
)


@dataclass
class Holds:
    """Holds by address space, in the order of their ends: those over a wait are found quickly."""

    by_mm: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    ends: dict[str, list[int]] = field(default_factory=dict)
    longest: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: list[Row]) -> "Holds":
        found = cls()
        for row in sorted(rows, key=lambda row: int(row["time_ns"])):
            found.by_mm[row["mm"]].append(row)
        found.ends = {mm: [r["time_ns"] for r in holds] for mm, holds in found.by_mm.items()}
        found.longest = {mm: max(int(r["hold_ns"]) for r in rs) for mm, rs in found.by_mm.items()}
        return found

    def over(self, wait: Row) -> list[Row]:
        """Others' holds of the same lock that lasted during a part of the wait."""
        mm, began = wait["mm"], wait["time_ns"] - wait["wait_ns"]
        if mm not in self.by_mm:
            return []
        first = bisect_right(self.ends[mm], began)
        last = bisect_right(self.ends[mm], wait["time_ns"] + self.longest[mm])
        return [
            hold
            for hold in self.by_mm[mm][first:last]
            if hold["time_ns"] - hold["hold_ns"] < wait["time_ns"] and hold["tid"] != wait["tid"]
        ]


def join(waits: list[Row], holds: list[Row]) -> None:
    """Gives each wait `behind` (the holds it overlapped, longest overlap first) and a `label`."""
    known = Holds.of(holds)
    for wait in waits:
        found: list[Row] = [
            {key: hold.get(key) for key in _SIDE} | {"overlap_ns": overlap_ns(wait, hold)}
            for hold in known.over(wait)
        ]
        found.sort(key=lambda row: -int(row["overlap_ns"]))
        wait["behind"] = found[:SHOWN]
        wait["label"] = label(wait)


def label(wait: Row) -> str:
    """One long hold covers half the wait; else writers in turn do; else readers overtook."""
    enough = wait["wait_ns"] * EXPLAINS
    longest = max((int(row["overlap_ns"]) for row in wait["behind"]), default=0)
    if longest >= enough:
        return "one long hold"
    if wait.get("writers_before", 0) > 1 and wait.get("write_hold_ns", 0) >= enough:
        return "a queue of writers"
    if wait.get("overtakes", 0) > 0:
        return "starved by overtaking readers"
    return "unexplained"


def charges(waits: list[Row], holds: list[Row]) -> list[Row]:
    """Every ns of every wait, charged to the hold behind which it passed, or to none.

    Where several held at once, each is charged an equal part; what no recorded hold covers is a
    row of its own, 'unexplained'. The rows' `charged_ns` add up to the waits, to the ns.
    """
    known = Holds.of(holds)
    numbers = {id(hold): number for number, hold in enumerate(holds)}
    rows = []
    for wait in waits:
        rest = int(wait["wait_ns"])
        for hold, ns in _shares(wait, known.over(wait)).values():
            rest -= ns
            if ns:
                rows.append(_charge(wait, ns, hold, numbers[id(hold)]))
        if rest:
            rows.append(_charge(wait, rest, {"cause": "unexplained", "kernel_stack": []}, None))
    return rows


def overlap_ns(wait: Row, hold: Row) -> int:
    start = max(wait["time_ns"] - wait["wait_ns"], hold["time_ns"] - hold["hold_ns"])
    return int(min(wait["time_ns"], hold["time_ns"]) - start)


def _charge(wait: Row, ns: int, hold: Row, number: int | None) -> Row:
    by_mode = {"read_ns": 0, "write_ns": 0} | {f"{wait['mode']}_ns": ns}
    row = {key: hold.get(key) for key in _CHARGED_TO}
    if number is None:  # the address space is the wait's own
        row |= {key: wait.get(key) for key in ("owner_pid", "owner_comm", "owner_kind", "mm")}
    return row | by_mode | {
        "time_ns": wait["time_ns"], "charged_ns": ns, "victim_tid": wait["tid"], "hold": number,
        "charged": "unexplained" if number is None else "charged",
    }  # fmt: skip


def _shares(wait: Row, holds: list[Row]) -> dict[int, tuple[Row, int]]:
    """Hold by id -> (hold, its part of the wait). Walks the moments at which a holder changes."""
    shares: dict[int, tuple[Row, int]] = {}
    for start, end, active in _pieces(wait, holds):
        part, left = divmod(end - start, len(active))
        for at, hold in enumerate(active):
            earlier = shares.get(id(hold), (hold, 0))[1]
            shares[id(hold)] = hold, earlier + part + (left if at == 0 else 0)
    return shares


def _pieces(wait: Row, holds: list[Row]) -> Iterator[tuple[int, int, list[Row]]]:
    """The parts of the wait in which the same holds were active, and any was."""
    began, ended = wait["time_ns"] - wait["wait_ns"], wait["time_ns"]
    changes: list[tuple[int, bool, Row]] = []
    for hold in holds:
        changes.append((max(began, hold["time_ns"] - hold["hold_ns"]), True, hold))
        changes.append((min(ended, hold["time_ns"]), False, hold))
    changes.sort(key=lambda change: change[0])
    active: dict[int, Row] = {}
    since = began
    for at, begins, hold in changes:
        if active and at > since:
            yield since, at, list(active.values())
        since = at
        if begins:
            active[id(hold)] = hold
        else:
            active.pop(id(hold), None)
