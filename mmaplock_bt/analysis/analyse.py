"""A raw stream -> Result: every output's rows, the books, what is missing."""

from collections.abc import Callable, Iterable

from mmaplock_bt.analysis import advice, blame, causes, convoys, grouping, rows
from mmaplock_bt.result.model import SCHEMA, Books, Command, Loss, OutputData, Result, Row, Window
from mmaplock_bt.spec.declaration import Output
from mmaplock_bt.stream import stacks
from mmaplock_bt.stream.collect import Collected, Head, collect
from mmaplock_bt.tracing.open_spans import LATE

DERIVATIONS: dict[str, Callable[[list[Row], list[Row]], list[Row]]] = {
    "charges": blame.charges,
    "convoys": convoys.find,
}


def analyse(lines: Iterable[str]) -> Result:
    """A whole raw stream, header first -> Result. Raises UsageError when it is not one."""
    stream = iter(lines)
    head = Head.parse(next(stream, ""))
    got = collect(stream)
    outputs: dict[str, OutputData] = {}
    for name, output in head.outputs.items():
        outputs[name] = _output(name, output, got, outputs)
    for name, output in head.outputs.items():
        if output.behind is not None:
            blame.join(outputs[name].rows, outputs[output.behind].rows)
        if output.share_of is not None:
            grouping.add_shares(outputs[name].rows, outputs[output.share_of].rows)
    ended_by = got.trailer.get("ended_by", "bpftrace_died")
    books = _books(got)
    result = Result(
        schema=SCHEMA,
        tool=head.tool,
        profile=head.profile,
        target=head.target,
        window=Window(
            head.start,
            _duration(got),
            ended_by,
            None if head.argv is None else Command(head.argv, got.trailer.get("status")),
            got.trailer.get("cpu_wait_ns"),
        ),
        outputs=outputs,
        books=books,
        loss=_loss(got, head.probes, ended_by, books),
        messages=got.messages(head.outputs),
    )
    return advice.given(result, head.outputs)


def _output(name: str, output: Output, got: Collected, made: dict[str, OutputData]) -> OutputData:
    found = _sorted(output, _rows(name, output, got, made))
    keys = [column.name for column in output.columns]
    return OutputData(output.kind, output.title, output.unit, keys, found, output.hidden)


def _rows(name: str, output: Output, got: Collected, made: dict[str, OutputData]) -> list[Row]:
    if output.of is not None:
        return grouping.group(output, made[output.of].rows)
    if output.open is not None:
        return _open(output, got)
    if output.derive is not None:
        return _derived(output, made)
    return rows.of(name, output, got) if output.is_printed else []


def _derived(output: Output, made: dict[str, OutputData]) -> list[Row]:
    derive = output.derive
    assert derive is not None
    waits, holds = list(made[derive.waits].rows), list(made[derive.holds].rows)
    for span in made[derive.open].rows if derive.open else ():
        if span["ended"] == "no":  # its end is the window's
            ns = "wait_ns" if span["state"] == "wait" else "hold_ns"
            (waits if ns == "wait_ns" else holds).append(span | {ns: span["age_ns"]})
    columns = [column.name for column in output.columns]
    found = DERIVATIONS[derive.by](waits, holds)
    return [{name: row.get(name) for name in columns} for row in found]


def _sorted(output: Output, found: list[Row]) -> list[Row]:
    """The worst first; events without a rank in the order of time. Groups come sorted."""
    rank = output.rank or ("time_ns" if output.kind == "events" else None)
    if output.kind == "histogram" or output.of is not None or not found:
        return found
    if rank == "time_ns" and output.kind == "events":
        return sorted(found, key=lambda row: int(row.get("time_ns") or 0))
    return sorted(found, key=lambda row: -int(row.get(rank or "count") or 0))


def _open(output: Output, got: Collected) -> list[Row]:
    """Spans seen open, each as it was last seen; `ended` when a later look missed it."""
    latest: dict[tuple[int, int, int], Row] = {}
    for poll in got.polls:
        for span in poll["spans"]:
            key = (span["tid"], span["mm"], span["since_ns"])
            latest[key] = _span(span, poll, got, latest.get(key, {}))
    last = got.polls[-1]["now_ns"] if got.polls else 0
    acquired = {_span_key(key): text for key, text in got.acquired.items()}
    columns = [column.name for column in output.columns]
    for (tid, mm, _), row in latest.items():
        row["ended"] = "no" if row.pop("seen_ns") == last else "yes"
        stack = acquired.get((tid, mm))
        if stack is not None and row["ended"] == "no":
            row["kernel_stack"] = stacks.frames(stack)
    return [{name: row.get(name) for name in columns} for row in latest.values()]


def _span_key(key: str) -> tuple[int, ...]:
    """'tid,mm' as any version prints it, mm perhaps as a negative number."""
    return tuple(int(part, 0) & (2**64 - 1) for part in key.split(","))


def _span(span: Row, poll: Row, got: Collected, before: Row) -> Row:
    stack = poll["stacks"].get(str(span["tid"])) or before.get("current_stack") or []
    return span | {
        "time_ns": max(0, poll["now_ns"] - (got.opened_ns or 0)),
        "age_ns": poll["now_ns"] - span["since_ns"],
        "seen_ns": poll["now_ns"],
        "mm": f"0x{span['mm']:016x}",
        "cgroup": got.cgroup(span.get("cgroup") or 0),
        "current_stack": stack,
        "cause": causes.classify(stack),
    }


def _duration(got: Collected) -> int:
    if got.opened_ns is not None and got.closed_ns is not None:
        return got.closed_ns - got.opened_ns
    return int(got.trailer.get("duration_ns", 0))


def _books(got: Collected) -> Books:
    if not any(name.startswith("book_") for name in got.maps):
        return Books(*[None] * 9)
    count = {
        name: sum(n for _, n in got.maps.get(f"book_{name}", ()))
        for name in ("starts", "acquires", "failed", "releases", "downgrades", "orphan_releases")
    }
    open_waits = len(got.maps.get("waiting", ()))
    open_holds = sum(not int(value) & LATE for _, value in got.maps.get("holding", ()))
    asked = count["starts"] + count["downgrades"]
    unmet = asked - count["acquires"] - count["failed"] - open_waits
    unended = count["acquires"] - count["releases"] - count["downgrades"] - open_holds
    return Books(
        **count,
        open_holds=open_holds,
        open_waits=open_waits,
        residue=abs(unmet) + abs(unended),
    )


def _loss(got: Collected, probes: int, ended_by: str, books: Books) -> Loss:
    nothing_missing = not (got.lost or got.map_full or got.stack_errors or got.unparsed)
    balanced = books.residue == 0  # a probe may miss events without any counter knowing
    drained = got.closed_ns is not None  # printed after everything in the window
    unseen = got.blind or not drained or ended_by == "bpftrace_died"
    return Loss(
        lost_events=got.lost,
        map_full=got.map_full,
        stack_errors=got.stack_errors,
        unparsed_lines=got.unparsed,
        probes_expected=probes,
        probes_attached=got.attached,
        complete=nothing_missing and balanced and not unseen and got.attached == probes,
        unseen=unseen,
    )
