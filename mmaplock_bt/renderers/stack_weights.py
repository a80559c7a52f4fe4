"""What each stack weighs: in holds, in time held, and in time that others waited for it."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mmaplock_bt.errors import UsageError
from mmaplock_bt.escaping import safe
from mmaplock_bt.judging.series import Series
from mmaplock_bt.renderers import slices
from mmaplock_bt.result.model import EventsData, Result
from mmaplock_bt.result.rows import column
from mmaplock_bt.spec.outputs import Derived, Events, Group, OpenSpans, Output

# What tells stacks apart beside their frames: (label, column).
LABELS = (("actor", "comm"), ("owner", "owner_comm"), ("cause", "cause"), ("mode", "mode"))
NAMELESS = "unknown"


@dataclass(frozen=True)
class Stack:
    """Frames, outermost first, and labels like ("mode", "write"); all of it fit to be shown.

    The first `user_frames` are the user's, the rest the kernel's.
    """

    frames: tuple[str, ...]
    labels: tuple[tuple[str, str], ...]
    user_frames: int = 0

    def label(self, name: str) -> str:
        """Returns a label's value; 'unknown' for one that it does not have."""
        return dict(self.labels).get(name, NAMELESS)

    def under_actor(self) -> tuple[str, ...]:
        """Returns the actor's name, then the frames."""
        return (self.label("actor"), *self.frames)


@dataclass
class Weight:
    """Of holds with this stack: how many, how long (ns), and what others waited for them (ns)."""

    holds: int = 0
    hold_ns: int = 0
    victim_ns: int = 0

    def add(self, other: "Weight") -> None:
        """Adds another's figures."""
        self.holds += other.holds
        self.hold_ns += other.hold_ns
        self.victim_ns += other.victim_ns


@dataclass(frozen=True)
class Weights:
    """The weight of each stack; `lacks` says in sentences what is in none of them."""

    of: dict[Stack, Weight]
    lacks: tuple[str, ...]

    def totals(self) -> Weight:
        """Returns the sums over all stacks."""
        found = self.of.values()
        return Weight(
            sum(one.holds for one in found),
            sum(one.hold_ns for one in found),
            sum(one.victim_ns for one in found),
        )


def weighed(series: Series) -> Weights:
    """Returns the weights of all runs together.

    Holds are those that a profile keeps one by one, also where they had not ended. Waiting that no
    hold explains stands under a frame that says so. Raises UsageError for a profile that keeps no
    stacks.
    """
    found: defaultdict[Stack, Weight] = defaultdict(Weight)
    lacks: dict[str, None] = {}
    for run in series.runs:
        for name, field in _sources(run).items():
            rows, lacking = _rows(run, name, field)
            lacks |= dict.fromkeys(lacking)
            for row in rows:
                if _counts(row, field):
                    found[_stack(row)].add(_weight(row, field))
        if not run.loss.complete:
            lacks[slices.MISSING] = None
    return Weights(dict(found), tuple(lacks))


def single(run: Result) -> Iterator[tuple[Any, Stack, Weight]]:
    """Yields the rows that weighed() adds up, as far as they are kept one by one.

    Raises UsageError as weighed() does.
    """
    for name, field in _sources(run).items():
        for row in run.events(name):
            if _counts(row, field):
                yield row, _stack(row), _weight(row, field)


def _sources(run: Result) -> dict[str, str]:
    """The outputs that tell stacks and weights, each with the column that it weighs by."""
    fields = {name: _field(name, output, run) for name, output in run.declarations.items()}
    found = {name: field for name, field in fields.items() if field is not None}
    if not found:
        raise UsageError(
            f"profile {safe(run.profile.name)} keeps no stacks of single holds: "
            "long-holds and blame do"
        )
    return found


def _field(name: str, output: Output, run: Result) -> str | None:
    """The column that an output's rows weigh by; None for one of neither holds nor charges."""
    if name not in run.outputs or not isinstance(run.outputs[name], EventsData):
        return None
    if isinstance(output, Derived):
        return "charged_ns" if output.derive.by == "charges" else None
    names = {one.name for one in output.columns} if isinstance(output, Events | OpenSpans) else ()
    if not {"kernel_stack", "current_stack"} & set(names):
        return None
    return next((one for one in ("hold_ns", "age_ns") if one in names), None)


def _rows(run: Result, name: str, field: str) -> tuple[list[Any], list[str]]:
    """The rows, and sentences about what they leave out.

    Where not every event was kept a table serves that sums the same column by kernel stack.
    """
    lacking = slices.unkept(run, name)
    for other, output in run.declarations.items() if lacking else ():
        if isinstance(output, Group) and _sums(output, name, field):
            return [_ungrouped(row, field) for row in run.table(other)], []
    return list(run.events(name)), lacking


def _sums(output: Group, name: str, field: str) -> bool:
    keys = [one.name for one in output.columns]
    return (output.of, output.value, output.where) == (name, field, {}) and "kernel_stack" in keys


def _ungrouped(row: Any, field: str) -> dict[str, Any]:
    return {**row, **row["key"], field: row["sum"], "holds": row["count"]}


def _counts(row: Any, field: str) -> bool:
    return field != "age_ns" or _is_open_hold(row)


def _weight(row: Any, field: str) -> Weight:
    ns = column(row, field) or 0
    if field == "charged_ns":
        return Weight(victim_ns=ns)
    return Weight(column(row, "holds") or 1, ns)


def _is_open_hold(row: Any) -> bool:
    """One that has ended since is among those that ended."""
    return str(column(row, "state") or "").startswith("hold") and column(row, "ended") != "yes"


def _stack(row: Any) -> Stack:
    kernel = column(row, "kernel_stack") or column(row, "current_stack") or []
    user = column(row, "user_stack") or []
    frames = [*kernel, *user]
    labels = tuple((name, safe(row[field])) for name, field in LABELS if row.get(field) is not None)
    if not frames:  # whom nobody is charged for, or a stack that could not be read
        frames = [f"[{row.get('charged') or 'no stack'}]"]
    return Stack(tuple(safe(frame) for frame in reversed(frames)), labels, len(user))
