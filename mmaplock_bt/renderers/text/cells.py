"""Single values, processes and stacks as text, all of it harmless for a terminal."""

from collections.abc import Iterable
from typing import Any

from rich.text import Text

from mmaplock_bt import container_ids
from mmaplock_bt.escaping import safe
from mmaplock_bt.result import entry_frames
from mmaplock_bt.result.rows import Row
from mmaplock_bt.result.rows import column as column_of
from mmaplock_bt.spec.columns import Column
from mmaplock_bt.units import format_ns, format_value

SHOWN = 10  # rows of an output
CGROUP = 30
STACKS = ("current_stack", "faulting_stack", "kernel_stack", "user_stack")
KEPT = ("reason", "faulting_tid", "faulting_comm")
PARTIES = (
    *("pid", "tid", "comm", "actor_kind", "owner_pid", "owner_comm", "owner_kind", "cgroup"),
    *("mm", "time_ns"),
)
_OWNERS = {"owner_pid", "owner_comm", "owner_kind"}
_MARKS = {
    "user_stack": "-- user",
    "current_stack": "-- when last seen",
    "faulting_stack": "-- of the thread in a page fault",
}
_OF_ENDED = {"kernel_stack": "-- at release", "current_stack": "-- while it lasted"}
_WHOSE = {
    "process": "on {}",
    "fork_child": "on the newborn child of {}",
    "exec": "on the new image of {}",
    "teardown": "tearing down {}",
    "shared": "on the address space that it shares with {}",
}


def number(value: int | None, unit: str) -> str:
    """Writes a figure in its unit: times scaled, counts grouped; '-' for None."""
    return "-" if value is None else format_value(value, unit or "count")


def cell(value: object, column: Column) -> str:
    """Writes a column's value as its declaration says; '-' for None."""
    if value is None:
        return "-"
    if column.unit == "permille" and isinstance(value, int):
        return f"{value / 10:.1f} %"
    if column.unit and isinstance(value, int):
        return number(value, column.unit)
    if column.name == "cgroup":
        return shortened(safe(value))
    return safe(value)


def figure(row: Any, column: Column) -> str:
    """Writes a row's figure like a cell, plain numbers grouped, an estimate as one."""
    value = column_of(row, column.name)
    is_plain = isinstance(value, int) and not column.unit
    text = f"{value:,}" if is_plain else cell(value, column)
    return estimated(text, row, column.name, column.unit)


def estimated(text: str, row: Any, name: str, unit: str) -> str:
    """Returns a figure's text, as '~521 ±56' where it was scaled up from a sample."""
    found = column_of(row, f"{name}_error") if name in ("count", "sum") else None
    return text if found is None else f"~{text} ±{number(found, unit)}"


def shortened(cgroup: str) -> str:
    """Tells a container by its id's head; of another long path the end says most."""
    path = container_ids.told(cgroup)
    if len(path) <= CGROUP:
        return path
    if container_ids.of(cgroup):
        return f"{path[: CGROUP - 1]}…"
    return f"…{path[1 - CGROUP :]}"


def who(comm: str | None, pid: int | None) -> str:
    """Writes a process's name and id: 'mysqld[7]'."""
    if pid is None:
        return "a process that is gone"
    return f"{safe(comm) if comm else 'unnamed'}[{pid}]"


def parties(row: Row, names: Iterable[str]) -> str:
    """Writes actor and owner, as far as the named columns tell them; once if they are the same."""
    known = set(names)
    parts = []
    if "pid" in known:
        parts.append(f"by {_actor(row)}")
    if known & _OWNERS:
        parts.append(_owner(row, known))
    return ", ".join(parts) + _in_cgroup(row)


def frames(row: Row, indent: int = 6) -> list[Text]:
    """Returns a row's stacks as lines of a frame each, innermost first, without entry frames."""
    lines: list[Text] = []
    # A hold's stack is taken where it ends, and what it waited for is seen only before.
    has_ended = row.get("hold_ns") is not None and bool(row.get("kernel_stack"))
    marks = _MARKS | _OF_ENDED if has_ended else _MARKS
    for name in STACKS:
        stack: list[str] = row.get(name) or []  # type: ignore[assignment]
        if stack and name in marks:
            lines.append(Text(" " * indent + marks[name], style="dim"))
        lines += [
            Text(" " * indent + safe(frame), overflow="ellipsis", no_wrap=True, style="dim")
            for frame in (stack if name == "user_stack" else entry_frames.without(stack))
        ]
    return lines


def more(rows: list[Any], *, are_all: bool = True) -> list[Text]:
    """Returns a line that says how many rows are not shown, or none."""
    left = len(rows) - SHOWN
    text = f"  … and {left:,} more ({'all' if are_all else 'these'} are in -o FILE.json)"
    return [Text(text, style="dim")] if left > 0 else []


def period(row: Any) -> str:
    """Writes how regularly a row repeats: 'every 10 s ± 20 ms'; empty where it does not."""
    if not row.get("period_ns"):
        return ""
    return f"every {format_ns(row['period_ns'])} ± {format_ns(row['period_error_ns'] or 0)}"


def _actor(row: Row) -> str:
    pid, tid = row.get("pid"), row.get("tid")
    if pid is None:
        return "nobody recorded" if tid is None else f"thread {tid}"
    actor = who(row.get("comm"), pid)
    actor += " (kernel thread)" if row.get("actor_kind") == "kernel" else ""
    return actor + (f" thread {tid}" if tid not in (None, pid) else "")


def _owner(row: Row, known: set[str]) -> str:
    """The actor's own address space is called so where both pids are told and the same."""
    kind, pid = row.get("owner_kind"), row.get("owner_pid")
    if kind is None and "owner_kind" in known:
        return "on an address space that nothing was said of"
    kind = kind or "process"
    is_own = "pid" in known and pid is not None and pid == row.get("pid")
    if is_own and kind == "process":
        return "on its own address space"
    return _WHOSE.get(kind, f"on {kind} memory").format(who(row.get("owner_comm"), pid))


def _in_cgroup(row: Row) -> str:
    cgroup = row.get("cgroup")
    return f" in {shortened(safe(cgroup))}" if cgroup and cgroup != "/" else ""
