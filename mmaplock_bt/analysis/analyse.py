"""Makes a result of a window's records: every output's rows, the books, the loss."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from mmaplock_bt.analysis import advice, blame, books, convoys, grouping, rows, spans
from mmaplock_bt.result import estimates
from mmaplock_bt.result.buckets import merged
from mmaplock_bt.result.model import (
    SCHEMA,
    Command,
    CounterData,
    EventsData,
    HistogramData,
    OutputData,
    Result,
    TableData,
    Window,
)
from mmaplock_bt.result.rows import Row, column
from mmaplock_bt.spec.outputs import Derived, Events, Group, OpenSpans, Output, Table
from mmaplock_bt.stream import recording
from mmaplock_bt.stream.collect import Collected, collect
from mmaplock_bt.stream.recording import Head
from mmaplock_bt.stream.records import Record, Trailer

DERIVATIONS: dict[str, Callable[[list[Row], list[Row]], list[Row]]] = {
    "charges": blame.charges,
    "convoys": convoys.find,
}
_DATA: dict[str, Callable[..., OutputData]] = {
    "histogram": HistogramData,
    "table": TableData,
    "counter": CounterData,
    "events": EventsData,
}
_CUT_OFF = Trailer("bpftrace_died", 0)  # a stream without an end


def analyse_lines(lines: Iterable[str]) -> Result:
    """Makes a result of a whole raw stream. Raises UsageError where it is not one."""
    return analyse(*recording.read(lines))


def analyse(head: Head, stream: Iterable[Record]) -> Result:
    """Makes a result of a window's records; `head` says what they mean."""
    got = collect(stream)
    trailer = got.trailer or _CUT_OFF
    kept = books.kept(got, head.books, head.outputs)
    result = Result(
        schema=SCHEMA,
        tool=head.tool,
        profile=replace(head.profile, sample=max(head.profile.sample, _rarest(got))),
        target=head.target,
        window=_window(head, got, trailer),
        declarations=head.outputs,
        outputs=_outputs(head.outputs, got, head.profile.sample),
        books=kept,
        loss=books.loss(got, head.probes, trailer.ended_by, kept),
        messages=got.messages(head.outputs),
        cost=got.cost,
    )
    advice.give(result)
    return result


def _rarest(got: Collected) -> int:
    """Of how many locks one was followed at times, where the script weighed what it counted."""
    return max((step.sample for step in got.steps), default=1)


def _window(head: Head, got: Collected, trailer: Trailer) -> Window:
    return Window(
        start=head.start,
        duration_ns=_duration_ns(got, trailer),
        ended_by=trailer.ended_by,
        command=None if head.argv is None else Command(head.argv, trailer.status),
        cpu_wait_ns=trailer.cpu_wait_ns,
        failure=trailer.failure,
    )


def _duration_ns(got: Collected, trailer: Trailer) -> int:
    if got.opened_ns is not None and got.closed_ns is not None:
        # The script's clock; the trailer's starts and stops when this process got to it.
        return got.closed_ns - got.opened_ns
    return trailer.duration_ns


def _estimate(data: OutputData, sample: int, times: int) -> None:
    """Scales rows up from one lock in `sample`; events stay those that were seen."""
    if isinstance(data, EventsData):
        return
    rows: list[Any] = [estimates.scaled(row, sample, times) for row in data.rows]
    if isinstance(data, HistogramData):
        rows = [r | merged([r], r["key"], sample) for r in rows]  # its quantiles have an error now
    data.rows[:] = rows


def _outputs(declared: dict[str, Output], got: Collected, sample: int) -> dict[str, OutputData]:
    """In the declared order; what joins two outputs is added when all are there."""
    made: dict[str, OutputData] = {}
    for name, output in declared.items():
        made[name] = _output(name, output, got, made, declared)
    if (rarest := max(sample, _rarest(got))) > 1:
        for data in made.values():
            _estimate(data, rarest, sample)
    for name, output in declared.items():
        if isinstance(output, Events) and output.behind is not None:
            blame.join(_events(made[name]), _events(made[output.behind]))
        if isinstance(output, Table) and output.share_of is not None:
            grouping.add_shares(made[name].rows, made[output.share_of].rows)
    return made


def _output(
    name: str,
    output: Output,
    got: Collected,
    made: dict[str, OutputData],
    declared: dict[str, Output],
) -> OutputData:
    return _DATA[output.kind](
        title=output.title,
        unit=output.unit,
        keys=[column.name for column in output.columns],
        rows=_sorted(output, _rows(name, output, got, made, declared)),
        hidden=output.hidden,
    )


def _rows(
    name: str,
    output: Output,
    got: Collected,
    made: dict[str, OutputData],
    declared: dict[str, Output],
) -> list[Any]:
    match output:
        case Group():
            return grouping.group(output, made[output.of].rows, _weigher(got))
        case OpenSpans():
            return spans.rows_of(output, got)
        case Derived():
            return _derived(output, made)
        case _:
            return rows.printed(name, output, got, declared) if output.is_printed else []


def _weigher(got: Collected) -> Callable[[Row], int]:
    """How many an event stands for, by when it began; rows of tables are weighed already."""

    def weight(row: Row) -> int:
        lasted_ns = column(row, "hold_ns") or column(row, "wait_ns") or 0
        began_ns = (column(row, "time_ns") or 0) - lasted_ns
        begun = [step.sample for step in got.steps if step.since_ns <= began_ns]
        return begun[-1] if begun and "time_ns" in row else 1

    return weight


def _derived(output: Derived, made: dict[str, OutputData]) -> list[Row]:
    """Spans that the window's end cut off count as waits and holds of their age."""
    derive = output.derive
    waits, holds = list(_events(made[derive.waits])), list(_events(made[derive.holds]))
    for span in _events(made[derive.open]) if derive.open else ():
        if span["ended"] == "no":
            if span["state"] == "wait":
                waits.append({**span, "wait_ns": span["age_ns"]})
            else:
                holds.append({**span, "hold_ns": span["age_ns"]})
    return [rows.with_columns(row, output) for row in DERIVATIONS[derive.by](waits, holds)]


def _events(data: OutputData) -> list[Row]:
    """The declaration's check made sure of the kind."""
    assert isinstance(data, EventsData)
    return data.rows


def _sorted(output: Output, found: list[Any]) -> list[Any]:
    """Largest rank first; events without a rank by time. Groups are sorted already."""
    if output.kind == "histogram" or isinstance(output, Group):
        return found
    rank = getattr(output, "rank", None) or ("time_ns" if output.kind == "events" else "count")
    sign = 1 if rank == "time_ns" else -1
    return sorted(found, key=lambda row: sign * int(column(row, rank) or 0))
