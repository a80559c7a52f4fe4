"""Who holds: each process with its holds that were recorded, their worst stack, and its victims."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mmaplock_bt.result.model import EventsData, Result
from mmaplock_bt.result.rows import Row
from mmaplock_bt.spec.outputs import Derived, Events

_COLUMNS = {"time_ns", "hold_ns", "pid", "comm"}


@dataclass
class Holder:
    """A process; times are in ns. `waited_ns` is what others waited for it.

    `victims` are their names with ns, `times` ends and lengths of its holds.
    """

    pid: int
    name: str = ""
    held_ns: int = 0
    longest_ns: int = 0
    holds: int = 0
    open_ns: int = 0  # the age of the oldest that has not ended
    waited_ns: int = 0
    cause: str = ""
    stack: list[str] = field(default_factory=list)
    victims: Counter[str] = field(default_factory=Counter)
    times: list[tuple[int, int]] = field(default_factory=list)


def find(result: Result, still_open: list[Row]) -> list[Holder]:
    """Returns the holders of a result, in no order; `still_open` are spans that have not ended."""
    found: dict[int, Holder] = {}
    for row in _recorded(result):
        _add_hold(_of(row, found), row)
    for row in still_open:
        if row["state"] != "wait" and row.get("pid") is not None:
            _add_open(_of(row, found), row)
    for row in _charges(result):
        _add_victim(_of(row, found), row)
    return list(found.values())


def is_part(result: Result) -> bool:
    """Whether some recorded holds are no rows: then figures are at least so large."""
    data = _holds(result)
    return data is not None and data.total is not None


def _holds(result: Result) -> EventsData | None:
    """The output that has holds one by one."""
    for name, output in result.declarations.items():
        data = result.outputs[name]
        columns = {column.name for column in output.columns}
        if isinstance(output, Events) and columns >= _COLUMNS and isinstance(data, EventsData):
            return data
    return None


def _recorded(result: Result) -> Iterator[Any]:
    data = _holds(result)
    yield from (row for row in data.rows if row.get("pid") is not None) if data else ()


def _charges(result: Result) -> Iterator[Any]:
    """Who waited how long for whom, where the profile asks for it."""
    for name, output in result.declarations.items():
        if isinstance(output, Derived) and output.derive.by == "charges":
            rows: list[Any] = result.outputs[name].rows
            yield from (row for row in rows if row["charged"] == "charged" and row.get("pid"))


def _of(row: Any, found: dict[int, Holder]) -> Holder:
    pid = row["pid"]
    holder = found.get(pid)
    if holder is None:
        holder = found[pid] = Holder(pid)
    # A thread may have a name of its own: the leader's is the process's.
    if not holder.name or row.get("tid") == pid:
        holder.name = row.get("comm") or holder.name
    return holder


def _add_hold(holder: Holder, row: Any) -> None:
    ns = row["hold_ns"]
    holder.holds += 1
    holder.held_ns += ns
    holder.times.append((row["time_ns"], ns))
    if ns > holder.longest_ns:
        _note_worst(holder, row, ns)


def _add_open(holder: Holder, row: Any) -> None:
    age_ns = row.get("age_ns") or 0
    holder.open_ns = max(holder.open_ns, age_ns)
    holder.times.append((row["time_ns"], age_ns))
    if age_ns > holder.longest_ns:
        _note_worst(holder, row, age_ns)


def _note_worst(holder: Holder, row: Any, ns: int) -> None:
    holder.longest_ns = ns
    holder.cause = row.get("cause") or holder.cause
    holder.stack = row.get("kernel_stack") or row.get("current_stack") or holder.stack


def _add_victim(holder: Holder, row: Any) -> None:
    holder.name = row["culprit"] or holder.name
    holder.waited_ns += row["charged_ns"]
    holder.victims[f"{row['victim'] or '?'}[{row['victim_pid']}]"] += row["charged_ns"]
