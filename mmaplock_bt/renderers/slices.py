"""Holds and waits as slices of time on an address space, and which wait was for which hold."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from mmaplock_bt.errors import UsageError
from mmaplock_bt.escaping import safe
from mmaplock_bt.result.model import EventsData, Result
from mmaplock_bt.result.rows import column
from mmaplock_bt.spec.outputs import Derived, Events, OpenSpans, Output
from mmaplock_bt.units import counted

Kind = Literal["hold", "wait"]
MISSING = "Some events of this window are missing: the report's loss tells which."


class Timed(Protocol):
    """What lasted from one moment to another, or has not ended: None."""

    @property
    def began_ns(self) -> int: ...
    @property
    def ended_ns(self) -> int | None: ...


One = TypeVar("One", bound=Timed)


@dataclass(frozen=True, eq=False)
class Slice:
    """A hold or a wait, in ns since the window's start; `ended_ns` is None where it has not."""

    kind: Kind
    row: Any
    began_ns: int
    ended_ns: int | None

    @property
    def mm(self) -> str:
        """The address space, as the row names it."""
        return self.row.get("mm") or ""

    def meets(self, other: "Slice") -> bool:
        """Tells whether both lasted at once."""
        return _end(self) > other.began_ns and _end(other) > self.began_ns


def of(run: Result) -> list[Slice]:
    """Returns what the run kept one by one, by begin.

    Raises UsageError for a profile that keeps no single holds and waits.
    """
    if not any(_length(output) for output in run.declarations.values()):
        raise UsageError(
            f"profile {safe(run.profile.name)} keeps no single holds and waits: "
            "overview, long-holds and blame do"
        )
    found = [one for name, output in run.declarations.items() for one in _of(run, name, output)]
    return sorted(found, key=lambda one: (one.began_ns, _end(one)))


def lacking(run: Result) -> list[str]:
    """Returns sentences about spans that are in none."""
    names = [name for name, output in run.declarations.items() if _length(output)]
    found = [sentence for name in names for sentence in unkept(run, name)]
    return found if run.loss.complete else [*found, MISSING]


def unkept(run: Result, name: str) -> list[str]:
    """Returns a sentence about an output of which not every event was kept, or none."""
    data = run.outputs.get(name)
    if not isinstance(data, EventsData) or data.total in (None, len(data.rows)):
        return []
    kept = f"{len(data.rows):,} of {counted(data.total or 0, 'event')}"
    return [f"Of the output {name} only {kept} were kept."]


def pairs(run: Result, slices: Iterable[Slice]) -> list[tuple[Slice, Slice]]:
    """Returns (hold, wait) for each wait that is charged to a hold, of slices of this run."""
    holds, waits = defaultdict(list), {}
    for one in slices:
        if one.kind == "hold":
            holds[one.row.get("tid"), one.mm].append(one)
        else:
            waits[one.row.get("tid"), one.mm, one.ended_ns] = one
    found: dict[tuple[Slice, Slice], None] = {}
    for row in _charges(run):
        wait = waits.get((row.get("victim_tid"), row.get("mm"), row.get("time_ns")))
        if wait is not None:
            own = holds[row.get("tid"), row.get("mm")]
            found |= {(hold, wait): None for hold in own if hold.meets(wait)}
    return list(found)


def lanes(slices: Iterable[One]) -> list[list[One]]:
    """Spreads slices over as few lanes as hold them without overlap; each lane is by begin."""
    found: list[list[One]] = []
    for one in sorted(slices, key=lambda one: one.began_ns):
        free = next((lane for lane in found if _end(lane[-1]) <= one.began_ns), None)
        if free is None:
            found.append([one])
        else:
            free.append(one)
    return found


def _end(one: Timed) -> float:
    return float("inf") if one.ended_ns is None else one.ended_ns


def _of(run: Result, name: str, output: Output) -> Iterator[Slice]:
    length, data = _length(output), run.outputs.get(name)
    if length is None or not isinstance(data, EventsData):
        return
    for row in data.rows:
        at, ns = column(row, "time_ns"), column(row, length)
        if at is not None and ns is not None and column(row, "ended") != "yes":
            kind: Kind = "wait" if _is_wait(row, length) else "hold"
            yield Slice(kind, row, at - ns, None if length == "age_ns" else at)


def _is_wait(row: Any, length: str) -> bool:
    return length == "wait_ns" or (length == "age_ns" and row.get("state") == "wait")


def _length(output: Output) -> str | None:
    """The column that tells how long an output's events lasted; None for one of no spans."""
    if not isinstance(output, Events | OpenSpans):
        return None
    names = {one.name for one in output.columns}
    return next((one for one in ("hold_ns", "wait_ns", "age_ns") if one in names), None)


def _charges(run: Result) -> Iterator[Any]:
    for name, output in run.declarations.items():
        if isinstance(output, Derived) and output.derive.by == "charges":
            yield from (row for row in run.events(name) if column(row, "charged") == "charged")
