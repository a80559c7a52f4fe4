"""Who was waited for: joins waits with the holds of the same address space that they overlap."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from operator import attrgetter
from typing import Any, NamedTuple

from mmaplock_bt.analysis.naming import Rows
from mmaplock_bt.analysis.overlaps import Holds, Span, holds_of, waits_of
from mmaplock_bt.result.rows import Behind, Row, column
from mmaplock_bt.spec.columns import FAULTING
from mmaplock_bt.stream.stacks import Stack

SHOWN = 5
EXPLAINS = 0.5  # the share of a wait from which one cause is named for it
_OFF_CPU = ("preempted_ns", "asleep_ns")
_NO_STACK = Stack()
_CHARGED_TO = (
    *("pid", "tid", "comm", "process", "actor_kind"),
    *("owner_pid", "owner_comm", "owner_kind", "cgroup", "mm"),
    *("mode", "hold_ns", "cause", "kernel_stack", "user_stack", "reason", "current_stack"),
    *FAULTING,
)


def join(waits: list[Row], holds: Rows) -> None:
    """Gives each wait `behind` (the holds it overlaps, longest overlap first) and `label`."""
    known = Holds.index(holds_of(holds))
    for wait in waits_of(Rows(more=waits)):
        found = [_behind(wait, hold) for hold in known.over(wait)]
        found.sort(key=lambda behind: -behind["overlap_ns"])
        wait.row["behind"] = found[:SHOWN]
        wait.row["label"] = label(wait.row)


def label(wait: Row) -> str:
    """Returns why a wait with its `behind` was long, one of spec/columns' LABELS.

    One hold covers half of it; else several writers' holds do; else readers overtook it.
    `writers_before`, `write_hold_ns` and `overtakes` are columns of the template's own.
    """
    enough = (wait["wait_ns"] or 0) * EXPLAINS
    longest = max((behind["overlap_ns"] for behind in wait["behind"] or ()), default=0)
    if longest and longest >= enough:
        return "one long hold"
    writers, ns = column(wait, "writers_before") or 0, column(wait, "write_hold_ns") or 0
    if writers > 1 and ns >= enough:
        return "a queue of writers"
    if (column(wait, "overtakes") or 0) > 0:
        return "starved by overtaking readers"
    return "unexplained"


class Wait(NamedTuple):
    """What is asked of each wait: columns, None where the output has no such one."""

    time_ns: int | None
    wait_ns: int | None
    mm: str | None
    tid: int | None
    mode: str | None
    pid: int | None
    comm: str | None
    process: str | None
    owner_pid: int | None
    owner_comm: str | None
    owner_kind: str | None
    contended: int | None
    cpu_wait_ns: int | None
    short_ns: int | None


def charges(waits: Rows, holds: Rows) -> Iterator[Row]:
    """Yields rows that charge every ns of every wait to a hold, or to none.

    Where several held at once, each is charged an equal part. What no recorded hold covers is in
    rows of its own, by what is known of the wait: see `_reasons`. The rows' `charged_ns` add up to
    the waits exactly.
    """
    spans = holds_of(holds)
    known, unready = Holds.index(spans), Holds.index(_without_a_cpu(waits))
    numbers = {hold: number for number, hold in enumerate(spans)}
    for wait in _waits(waits):
        victim, rest = _victim(wait), wait.ns
        for hold, ns in _shares(wait, known.over(wait), unready.over(wait)).items():
            rest -= ns
            if ns and hold in numbers:
                yield _charge(victim, ns, hold.row, numbers[hold])
            elif ns:
                yield _charged_to_none(victim, wait.row, ns, "behind a waiter without a CPU")
        for reason, ns in _reasons(wait.row, rest):
            yield _charged_to_none(victim, wait.row, ns, reason)


def _waits(rows: Rows, wanted: Callable[[Wait], Any] | None = None) -> Iterator[Span]:
    """The waits one after the other: there may be very many."""
    told = map(Wait._make, rows.columns(Wait._fields))
    for wait in filter(wanted, told) if wanted else told:
        yield Span.of(wait, wait.time_ns, wait.wait_ns, wait.mm, wait.tid)


def _without_a_cpu(waits: Rows) -> Iterator[Span]:
    """The last part of each wait that was over when its thread had no CPU yet.

    The lock was its own already, or free: who came later could not have it either.
    """
    for wait in _waits(waits, attrgetter("cpu_wait_ns")):
        ns = min(wait.ns, wait.row.cpu_wait_ns)
        if ns > 0:
            yield replace(wait, began_ns=wait.ended_ns - ns)


def _behind(wait: Span, hold: Span) -> Behind:
    row = hold.row
    return {
        "mode": row["mode"] or "", "tid": row["tid"] or 0, "pid": row["pid"] or 0,
        "comm": row["comm"], "hold_ns": hold.ns, "cause": row.get("cause"),
        "kernel_stack": row["kernel_stack"], "overlap_ns": wait.overlap_ns(hold),
    }  # fmt: skip


def _reasons(wait: Wait, rest: int) -> Iterator[tuple[str, int]]:
    """(one of spec/columns' CHARGED, ns) of what no hold explains; the template's own columns tell.

    `cpu_wait_ns` is exact for the whole wait, `short_ns` at least what short holds took together:
    of both only as much as is left counts here.
    """
    told = ((wait.cpu_wait_ns, "waited for a CPU"), (wait.short_ns, "behind short holds"))
    for known_ns, reason in told:
        ns = min(rest, known_ns or 0)
        if ns > 0:
            rest -= ns
            yield reason, ns
    if rest > 0:
        yield "met nobody" if wait.contended == 0 else "unexplained", rest


def _victim(wait: Span) -> dict[str, Any]:
    """What all charges of a wait have in common."""
    row = wait.row
    name = _process(row.pid, row.owner_pid, row.owner_comm, row.process or row.comm)
    return {
        "time_ns": wait.ended_ns, "victim_tid": wait.tid, "victim_pid": row.pid, "victim": name,
        "is_write": row.mode == "write",
    }  # fmt: skip


def _charged_to_none(victim: dict[str, Any], wait: Wait, ns: int, reason: str) -> Row:
    """Of the address space that was waited for; without an actor."""
    row: Any = {
        "owner_pid": wait.owner_pid, "owner_comm": wait.owner_comm, "mm": wait.mm,
        "owner_kind": wait.owner_kind, "cause": reason,
        "kernel_stack": _NO_STACK, "user_stack": _NO_STACK,
    }  # fmt: skip
    return _charged(row, victim, ns, None, reason)


def _charge(victim: dict[str, Any], ns: int, to: Row, number: int) -> Row:
    row: Any = dict(zip(_CHARGED_TO, map(to.get, _CHARGED_TO), strict=True))
    hold_ns = to["hold_ns"] or 0
    for name in _OFF_CPU if hold_ns and column(to, "watched") else ():
        # As much of the charge as of the hold: where in the hold it was is not known.
        row[name] = ns * min(hold_ns, column(to, name) or 0) // hold_ns
    actor = row["process"] or row["comm"]
    row["culprit"] = _process(row["pid"], row["owner_pid"], row["owner_comm"], actor)
    return _charged(row, victim, ns, number)


def _charged(
    row: Any, victim: dict[str, Any], ns: int, number: int | None, charged: str = "charged"
) -> Row:
    """A column that the row lacks is None."""
    row |= victim
    row |= {"charged_ns": ns, "hold": number, "charged": charged}
    row["write_ns"], row["read_ns"] = (ns, 0) if row.pop("is_write") else (0, ns)
    return row  # type: ignore[no-any-return]


def _process(
    pid: int | None, owner_pid: int | None, owner_comm: str | None, actor: str | None
) -> str | None:
    """The name of the actor's process: the owner's where it is the owner."""
    return owner_comm if pid is not None and pid == owner_pid else actor


def _shares(wait: Span, holds: list[Span], others: list[Span]) -> dict[Span, int]:
    """Each hold's part of the wait, in ns; the remainders of divisions are not lost.

    The others have a part only while there is no hold.
    """
    shares: dict[Span, int] = {}
    first = set(holds)
    for start, end, active in _pieces(wait, [*holds, *_merged(others)]):
        charged = [hold for hold in active if hold in first] or active
        part, left = divmod(end - start, len(charged))
        for at, hold in enumerate(charged):
            shares[hold] = shares.get(hold, 0) + part + (left if at == 0 else 0)
    return shares


def _merged(spans: list[Span]) -> list[Span]:
    """As few that cover the same time: a thousand waiters at once are no thousand names."""
    found: list[Span] = []
    for span in sorted(spans, key=lambda one: one.began_ns):
        if not found or span.began_ns > found[-1].ended_ns:
            found.append(span)
        elif span.ended_ns > found[-1].ended_ns:
            found[-1] = replace(found[-1], ended_ns=span.ended_ns)
    return found


def _pieces(wait: Span, holds: list[Span]) -> Iterator[tuple[int, int, list[Span]]]:
    """(begin, end, active holds) for each part of the wait in which these stay the same."""
    changes: list[tuple[int, bool, Span]] = []
    for hold in holds:
        changes.append((max(wait.began_ns, hold.began_ns), True, hold))
        changes.append((min(wait.ended_ns, hold.ended_ns), False, hold))
    changes.sort(key=lambda change: change[0])
    active: dict[Span, None] = {}
    since = wait.began_ns
    for at, begins, hold in changes:
        if active and at > since:
            yield since, at, list(active)
        since = at
        if begins:
            active[hold] = None
        else:
            active.pop(hold, None)
