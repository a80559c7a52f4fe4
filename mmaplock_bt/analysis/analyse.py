"""Makes a result of a window's records: every output's rows, the books, the loss."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from mmaplock_bt.analysis import books, causes, findings, spans, timeline
from mmaplock_bt.analysis.making import Making
from mmaplock_bt.result.model import SCHEMA, Command, Looked, Result, Window
from mmaplock_bt.result.rows import Row
from mmaplock_bt.stream import recording
from mmaplock_bt.stream.collect import Collected, collect, copied
from mmaplock_bt.stream.recording import Head
from mmaplock_bt.stream.records import Decoder, Record, Trailer

SO_FAR = 2_000  # waits, and holds: of so many a result takes some ten milliseconds
_CUT_OFF = Trailer("bpftrace_died", 0)  # a stream without an end


def analyse_lines(lines: Iterable[str]) -> Result:
    """Makes a result of a whole raw stream. Raises UsageError where it is not one."""
    head, rest = recording.read(lines)
    making = Making(head.outputs)
    return _result(head, making, Decoder(head.outputs).decode(rest))


def analyse(head: Head, stream: Iterable[Record], making: Making | None = None) -> Result:
    """Makes a result of a window's records; `head` says what they mean.

    `making` is there while they pass.
    """
    return _result(head, making or Making(head.outputs), stream)


@dataclass(frozen=True)
class SoFar:
    """What an open window says; `open` are the spans that its last look saw."""

    result: Result
    open: list[Row]


def so_far(head: Head, making: Making, seen: Iterable[Record], duration_ns: int) -> SoFar:
    """Makes a result of what passed in a window that is open, and of what was `seen` beside.

    It is as one of a bpftrace that did not see the window through: the books, which only its end
    can balance, are not kept. Waits and holds are joined for the SO_FAR longest.
    """
    got = collect([*seen, Trailer("interrupt", duration_ns)], {}, copied(making.got))
    still = [row for row in spans.latest(got) if row["ended"] == "no"]
    return SoFar(_result(head, making.beside(got, SO_FAR), ()), still)


def _result(head: Head, making: Making, stream: Iterable[Record]) -> Result:
    got = collect(stream, making.takers, making.got)
    trailer = got.trailer or _CUT_OFF
    if head.profile.params.get("kernel_stack") == 0:
        got.stackless = 0  # none was asked for
    kept = books.kept(got, head.books, head.outputs)
    result = Result(
        schema=SCHEMA,
        tool=head.tool,
        profile=replace(head.profile, sample=max(head.profile.sample, making.rarest)),
        target=head.target,
        window=_window(head, got, trailer),
        declarations=head.outputs,
        outputs=making.made(head.profile.sample),
        books=kept,
        loss=books.loss(got, head.probes, trailer.ended_by, kept),
        messages=got.messages(head.outputs),
        cost=got.cost,
        timeline=timeline.made(got, head.outputs, head.profile.sample),
        looks=_looks(got),
    )
    return replace(result, findings=findings.find(result, head.findings, head.calm))


def _looks(got: Collected) -> list[Looked]:
    found = got.sleepers.sleepers if got.sleepers else ()
    return [Looked(**vars(one), cause=causes.of_open(one.kernel_stack)) for one in found]


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
