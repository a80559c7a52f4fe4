"""What a row of each kind of output holds, for mypy and for the check of saved results.

Rows stay plain mappings, since a template may declare columns of its own. Times are integers in ns;
None is 'not known' or 'not measured'.
"""

from typing import Annotated, Any, NamedTuple

from pydantic import ConfigDict, Field
from typing_extensions import TypedDict

Stack = list[str]  # innermost frame first


class Interval(NamedTuple):
    """An interval with inclusive ends; None is an open end."""

    low: int | None
    high: int | None


class Bucket(NamedTuple):
    """A count of values between two inclusive ends; None is an open end."""

    low: int | None
    high: int | None
    n: int


class Behind(TypedDict):
    """A hold that a wait overlapped."""

    mode: str
    tid: int
    pid: int
    comm: str | None
    hold_ns: int
    cause: str | None
    kernel_stack: Stack | None
    overlap_ns: int


class Queued(TypedDict):
    """A wait in a convoy."""

    mode: str
    tid: int
    pid: int
    comm: str | None
    wait_ns: int


class Row(TypedDict, total=False):
    """The standard columns of spec/columns; an event is such a row."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    mode: str | None
    tid: int | None
    pid: int | None
    comm: str | None
    actor_kind: str | None
    owner_pid: int | None
    owner_comm: str | None
    owner_kind: str | None
    cgroup: str | None
    mm: str | None
    hold_ns: int | None
    wait_ns: int | None
    time_ns: int | None
    kernel_stack: Stack | None
    user_stack: Stack | None
    cause: str | None
    label: str | None
    behind: list[Behind] | None
    queued: list[Queued] | None
    state: str | None
    age_ns: int | None
    ended: str | None
    certainty: str | None
    current_stack: Stack | None
    reason: str | None
    charged: str | None
    charged_ns: int | None
    read_ns: int | None
    write_ns: int | None
    preempted_ns: int | None
    asleep_ns: int | None
    hold: int | None
    victim_tid: int | None
    victim_pid: int | None
    victim: str | None
    culprit: str | None
    writer_tid: int | None
    writer_pid: int | None
    writer_comm: str | None
    writer_wait_ns: int | None
    readers: int | None
    readers_wait_ns: int | None
    readers_max_ns: int | None
    run: str | None
    why: str | None


class Estimated(TypedDict, total=False):
    """Errors of a row that was scaled up from a sample (result/estimates)."""

    count_error: int
    sum_error: int


class CounterRow(Estimated):
    """A count of a key."""

    key: Row
    count: int


class HistogramRow(Estimated):
    """A key's histogram; `sum` and `max` are None where the script did not keep them."""

    key: Row
    count: int
    sum: int | None
    max: int | None
    buckets: Annotated[list[Bucket], Field(min_length=1)]
    quantiles: dict[str, Interval]


class Cell(NamedTuple):
    """How many values of a step (from 0) lay between two inclusive ends."""

    step: int
    low: int
    high: int
    n: int


class TimelineRow(TypedDict):
    """A mode's counts over time; cells of 0 are left out."""

    key: Row
    cells: list[Cell]


class _Counted(TypedDict):
    key: Row
    count: int
    sum: int | None
    max: int | None


class TableRow(_Counted, Row, Estimated, total=False):
    """A key's figures, columns of its worst row, and what else the declaration asks for."""

    count_permille: int | None
    sum_permille: int | None
    period_ns: int | None
    period_error_ns: int | None


AnyRow = Row | CounterRow | HistogramRow | TableRow


def column(row: Any, name: str) -> Any:
    """Returns a column whose name comes from a declaration; None where the row has none."""
    return row.get(name)
