"""Who was waited for: joins waits with the holds of the same address space that they overlap."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from mmaplock_bt.analysis.overlaps import Holds, Span, holds_of, waits_of
from mmaplock_bt.result.rows import Behind, Row, column
from mmaplock_bt.stream.stacks import Stack

SHOWN = 5
EXPLAINS = 0.5  # the share of a wait from which one cause is named for it
_WHOSE = ("owner_pid", "owner_comm", "owner_kind", "mm")
_OFF_CPU = ("preempted_ns", "asleep_ns")
_CHARGED_TO = (
    *("pid", "tid", "comm", "process", "actor_kind"),
    *("owner_pid", "owner_comm", "owner_kind", "cgroup", "mm"),
    *("mode", "hold_ns", "cause", "kernel_stack", "user_stack", "reason", "current_stack"),
)


def join(waits: list[Row], holds: list[Row]) -> None:
    """Gives each wait `behind` (the holds it overlaps, longest overlap first) and `label`."""
    known = Holds.index(holds_of(holds))
    for wait in waits_of(waits):
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


def charges(waits: list[Row], holds: list[Row]) -> Iterator[Row]:
    """Yields rows that charge every ns of every wait to a hold, or to none.

    Where several held at once, each is charged an equal part. What no recorded hold covers is in
    rows of its own, by what is known of the wait: see `_reasons`. The rows' `charged_ns` add up to
    the waits exactly.
    """
    spans = holds_of(holds)
    known, unready = Holds.index(spans), Holds.index(_without_a_cpu(waits))
    numbers = {hold: number for number, hold in enumerate(spans)}
    for wait in waits_of(waits):
        rest = wait.ns
        for hold, ns in _shares(wait, known.over(wait), unready.over(wait)).items():
            rest -= ns
            if ns and hold in numbers:
                yield _charge(wait, ns, hold.row, numbers[hold])
            elif ns:
                yield _charged_to_none(wait, ns, "behind a waiter without a CPU")
        for reason, ns in _reasons(wait.row, rest):
            yield _charged_to_none(wait, ns, reason)


def _without_a_cpu(waits: list[Row]) -> list[Span]:
    """The last part of each wait that was over when its thread had no CPU yet.

    The lock was its own already, or free: who came later could not have it either.
    """
    found = []
    for wait in waits_of(waits):
        ns = min(wait.ns, column(wait.row, "cpu_wait_ns") or 0)
        if ns > 0:
            found.append(replace(wait, began_ns=wait.ended_ns - ns))
    return found


def _behind(wait: Span, hold: Span) -> Behind:
    row = hold.row
    return {
        "mode": row["mode"] or "", "tid": row["tid"] or 0, "pid": row["pid"] or 0,
        "comm": row["comm"], "hold_ns": hold.ns, "cause": row.get("cause"),
        "kernel_stack": row["kernel_stack"], "overlap_ns": wait.overlap_ns(hold),
    }  # fmt: skip


def _reasons(wait: Row, rest: int) -> Iterator[tuple[str, int]]:
    """(one of spec/columns' CHARGED, ns) of what no hold explains; the template's own columns tell.

    `cpu_wait_ns` is exact for the whole wait, `short_ns` at least what short holds took together:
    of both only as much as is left counts here.
    """
    for name, reason in (("cpu_wait_ns", "waited for a CPU"), ("short_ns", "behind short holds")):
        ns = min(rest, column(wait, name) or 0)
        if ns > 0:
            rest -= ns
            yield reason, ns
    if rest > 0:
        yield "met nobody" if column(wait, "contended") == 0 else "unexplained", rest


def _charged_to_none(wait: Span, ns: int, reason: str) -> Row:
    """Of the address space that was waited for; without an actor."""
    row: Any = {name: wait.row.get(name) for name in _WHOSE}
    row |= {"cause": reason, "kernel_stack": Stack(), "user_stack": Stack()}
    return _charged(row, wait, ns, None, reason)


def _charge(wait: Span, ns: int, to: Row, number: int) -> Row:
    row: Any = {name: to.get(name) for name in _CHARGED_TO}
    hold_ns = to["hold_ns"] or 0
    for name in _OFF_CPU if hold_ns and column(to, "watched") else ():
        # As much of the charge as of the hold: where in the hold it was is not known.
        row[name] = ns * min(hold_ns, column(to, name) or 0) // hold_ns
    return _charged(row, wait, ns, number)


def _charged(row: Any, wait: Span, ns: int, number: int | None, charged: str = "charged") -> Row:
    """A column that the row lacks is None."""
    row["read_ns"] = row["write_ns"] = 0
    row[f"{wait.row['mode']}_ns"] = ns
    row |= {
        "time_ns": wait.ended_ns, "charged_ns": ns, "victim_tid": wait.tid, "hold": number,
        "victim_pid": wait.row.get("pid"), "victim": _process(wait.row), "culprit": _process(row),
        "charged": charged,
    }  # fmt: skip
    return row  # type: ignore[no-any-return]


def _process(row: Any) -> str | None:
    """The name of the actor's process, which the row's `process` tells, or the owner's is."""
    is_own = row.get("pid") is not None and row.get("pid") == row.get("owner_pid")
    name: str | None = row.get("owner_comm") if is_own else row.get("process") or row.get("comm")
    return name


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
