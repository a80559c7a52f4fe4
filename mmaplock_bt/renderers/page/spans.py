"""The holds and waits that a page draws: those that the run kept, of many the longest."""

from dataclasses import dataclass

from mmaplock_bt.errors import UsageError
from mmaplock_bt.escaping import safe
from mmaplock_bt.renderers import slices
from mmaplock_bt.renderers.page.axis import Axis
from mmaplock_bt.renderers.slices import Slice
from mmaplock_bt.renderers.text.cells import who
from mmaplock_bt.result.model import Result
from mmaplock_bt.units import counted, format_ns

MOST = 10_000


@dataclass(frozen=True)
class Spans:
    """By begin; `notices` say in sentences what is not among them."""

    of: list[Slice]
    axis: Axis
    notices: list[str]

    def length_ns(self, one: Slice) -> int:
        """Returns how long one lasted, to the axis' end where it had not ended."""
        return (self.axis.end_ns if one.ended_ns is None else one.ended_ns) - one.began_ns


def of(run: Result) -> Spans:
    """Returns what is drawn of a run; nothing of a profile that keeps no single spans."""
    try:
        found = slices.of(run)
    except UsageError as error:
        return Spans([], Axis.of(run, []), [f"Nothing is drawn over time: {error}."])
    axis, notices = Axis.of(run, found), slices.lacking(run)
    if len(found) <= MOST:
        return Spans(found, axis, notices)
    every = Spans(found, axis, notices)
    longest = set(sorted(found, key=every.length_ns, reverse=True)[:MOST])
    told = f"Of {counted(len(found), 'hold')} and waits the {MOST:,} longest are drawn."
    return Spans([one for one in found if one in longest], axis, [*notices, told])


def what(one: Slice) -> str:
    """Writes 'read hold' or 'write wait, not ended'."""
    mode = one.row.get("mode")
    still = ", not ended" if one.ended_ns is None else ""
    return f"{safe(mode)} {one.kind}{still}" if mode else f"{one.kind}{still}"


def actor(one: Slice) -> str:
    """Writes who took the lock: 'redis-server[812] thread 815'."""
    pid, tid = one.row.get("pid"), one.row.get("tid")
    if pid is None:
        return "unknown" if tid is None else f"thread {tid}"
    return who(one.row.get("comm"), pid) + (f" thread {tid}" if tid not in (None, pid) else "")


def owner(one: Slice) -> str:
    """Writes whose lock it is: 'redis-server[812]'; empty where no column tells it."""
    pid = one.row.get("owner_pid")
    return "" if pid is None else who(one.row.get("owner_comm"), pid)


def cause(one: Slice) -> str:
    """Writes what the holder did, or why a writer waited; empty where nothing tells it."""
    return safe(one.row.get("cause") or one.row.get("label") or "")


def told(one: Slice, length_ns: int) -> str:
    """Writes a span in full: 'read hold, 20.0 ms from +1.00 ms on, agent[20]: cause'."""
    why = f": {cause(one)}" if cause(one) else ""
    since = "from before the window on" if one.began_ns < 0 else f"from +{format_ns(one.began_ns)}"
    return f"{what(one)}, {format_ns(length_ns)} {since}, {actor(one)}{why}"
