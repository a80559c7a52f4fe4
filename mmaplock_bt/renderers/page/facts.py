"""What a page tells of runs beside their figures: head, loss, books, machine, cost."""

from collections.abc import Iterator, Sequence
from typing import Any

from mmaplock_bt.renderers import price
from mmaplock_bt.renderers.wording import acquisitions, followed
from mmaplock_bt.result.loss import left_out, missing
from mmaplock_bt.result.model import Result
from mmaplock_bt.units import format_ns, how_ended

RUNS = 200  # rows
Facts = tuple[str, list[tuple[str, str]]]  # heading, [(name, value)]


def head(run: Result) -> list[str]:
    """Returns the window, its end, the machine and the command, in short."""
    window, target = run.window, run.target
    parts = [
        f"{format_ns(window.duration_ns)} from {window.start}",
        f"ended by {window.ended_by.replace('_', ' ')}",
        acquisitions([run]),
        f"Linux {target.kernel}",
        target.traced_by,
    ]
    if window.command is not None:
        argv = " ".join(window.command.argv)
        parts.append(f"{argv[:500]}: {how_ended(window.command.status)}")
    return parts


def losses(run: Result) -> Iterator[str]:
    """Yields what the first sentence does not say: books, what was not followed, left out, said."""
    if run.books.residue:
        yield (
            f"The books do not balance: {run.books.residue:,} lock events have no partner, so that "
            "many waits or holds are missing or wrong."
        )
    if run.window.failure:
        yield run.window.failure
    yield from followed(run)
    for name, output in run.outputs.items():
        if told := left_out(output):
            yield f"{output.title} ({name}): {told}."
    yield from (f"bpftrace said: {one}" for one in run.messages)


def runs(found: Sequence[Result]) -> list[list[str]]:
    """Returns a row for each run: its number, window, how often it was taken, loss, cost."""
    return [
        [str(turn), format_ns(run.window.duration_ns), acquisitions([run]),
         missing(run) or "complete", price.share(run)]
        for turn, run in enumerate(found[:RUNS], 1)
    ]  # fmt: skip


def of(run: Result) -> Iterator[Facts]:
    """Yields books, machine, what was asked, loss, cost."""
    books = [(_name(name), _value(value, name)) for name, value in vars(run.books).items()]
    yield "Books", books
    target = run.target
    yield "Machine", [
        ("kernel", target.kernel), ("architecture", target.arch),
        ("CPUs", str(target.cpus)), ("bpftrace", target.bpftrace),
        ("facts", _value(target.facts, "facts")),
    ]  # fmt: skip
    info = run.profile
    yield "What was asked", [
        ("profile", info.name), ("template", info.template),
        *((_name(name), _value(value, name)) for name, value in info.params.items()),
        ("filter", _value(info.filter, "filter")),
        ("locks followed", f"{info.locks}, 1 in {info.sample:,}"),
        ("script's sha256", info.sha256),
    ]  # fmt: skip
    loss = [(_name(name), _value(value, name)) for name, value in vars(run.loss).items()]
    yield "Loss", loss
    yield "Cost", [("of this window", price.told(run) or "not told"),
                   ("written by", f"{run.tool.name} {run.tool.version}")]  # fmt: skip


def _name(name: str) -> str:
    return name.removesuffix("_ns").replace("_", " ")


def _value(value: Any, name: str) -> str:
    """A figure as people write it; what is none as it is, within bounds."""
    if value is None:
        return "not measured"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return format_ns(value) if name.endswith("_ns") else f"{value:,}"
    if isinstance(value, dict):
        parts = [f"{_name(str(key))} {_value(one, str(key))}" for key, one in value.items()]
        return ", ".join(parts)[:2000] or "none"
    return str(value)[:2000]
