"""What a row of each kind of output holds, for mypy and for the check of saved results.

Rows stay plain mappings, since a template may declare columns of its own. Times are integers in ns;
None is 'not known' or 'not measured'.
"""

from typing import Annotated, Any, NamedTuple

from pydantic import ConfigDict, Field, Strict
from typing_extensions import TypedDict

Stack = list[str]  # innermost frame first
# More than any sum of 64-bit numbers comes to; beyond it arithmetic and text end in errors.
LARGEST = 1 << 96
Whole = Annotated[int, Strict(), Field(ge=-LARGEST, le=LARGEST)]
Count = Annotated[int, Strict(), Field(ge=0, le=LARGEST)]
Flag = Annotated[bool, Strict()]
Plain = Flag | Whole | str | None


class Interval(NamedTuple):
    """An interval with inclusive ends; None is an open end."""

    low: Whole | None
    high: Whole | None


class Bucket(NamedTuple):
    """A count of values between two inclusive ends; None is an open end."""

    low: Whole | None
    high: Whole | None
    n: Count


class Behind(TypedDict):
    """A hold that a wait overlapped."""

    mode: str
    tid: Whole
    pid: Whole
    comm: str | None
    hold_ns: Whole
    cause: str | None
    kernel_stack: Stack | None
    overlap_ns: Whole


class Queued(TypedDict):
    """A wait in a convoy."""

    mode: str
    tid: Whole
    pid: Whole
    comm: str | None
    wait_ns: Whole


class Row(TypedDict, total=False):
    """The standard columns of spec/columns; an event is such a row."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    mode: str | None
    tid: Whole | None
    pid: Whole | None
    comm: str | None
    actor_kind: str | None
    owner_pid: Whole | None
    owner_comm: str | None
    owner_kind: str | None
    fault: str | None
    cgroup: str | None
    mm: str | None
    hold_ns: Whole | None
    wait_ns: Whole | None
    time_ns: Whole | None
    kernel_stack: Stack | None
    user_stack: Stack | None
    cause: str | None
    label: str | None
    behind: list[Behind] | None
    queued: list[Queued] | None
    state: str | None
    age_ns: Whole | None
    ended: str | None
    certainty: str | None
    current_stack: Stack | None
    reason: str | None
    faulting_tid: Whole | None
    faulting_comm: str | None
    faulting_stack: Stack | None
    charged: str | None
    charged_ns: Whole | None
    read_ns: Whole | None
    write_ns: Whole | None
    preempted_ns: Whole | None
    asleep_ns: Whole | None
    hold: Whole | None
    victim_tid: Whole | None
    victim_pid: Whole | None
    victim: str | None
    culprit: str | None
    writer_tid: Whole | None
    writer_pid: Whole | None
    writer_comm: str | None
    writer_wait_ns: Whole | None
    readers: Whole | None
    readers_wait_ns: Whole | None
    readers_max_ns: Whole | None
    run: str | None
    why: str | None


class Estimated(TypedDict, total=False):
    """Errors of a row that was scaled up from a sample (result/estimates)."""

    count_error: Count
    sum_error: Count


class CounterRow(Estimated):
    """A count of a key."""

    key: Row
    count: Count


class HistogramRow(Estimated):
    """A key's histogram; `sum` and `max` are None where the script did not keep them."""

    key: Row
    count: Count
    sum: Whole | None
    max: Whole | None
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
    count: Count
    sum: Whole | None
    max: Whole | None


class TableRow(_Counted, Row, Estimated, total=False):
    """A key's figures, columns of its worst row, and what else the declaration asks for."""

    count_permille: Whole | None
    sum_permille: Whole | None
    period_ns: Whole | None
    period_error_ns: Whole | None


AnyRow = Row | CounterRow | HistogramRow | TableRow


def column(row: Any, name: str) -> Any:
    """Returns a column whose name comes from a declaration; None where the row has none."""
    return row.get(name)
