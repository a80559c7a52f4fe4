"""Events: how long, then actor and owner, then whatever else the declaration has."""

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from mmaplock_bt.escaping import safe
from mmaplock_bt.renderers.text.cells import (
    KEPT,
    PARTIES,
    SHOWN,
    STACKS,
    cell,
    frames,
    more,
    parties,
    who,
)
from mmaplock_bt.result.keeping import kept_by
from mmaplock_bt.result.model import EventsData
from mmaplock_bt.result.rows import Row, column
from mmaplock_bt.spec.columns import Column
from mmaplock_bt.spec.outputs import Advice, Output
from mmaplock_bt.units import format_ns

QUEUED = 8
MEASURED = ("hold_ns", "wait_ns", "age_ns", "charged_ns")
_LISTS = ("behind", "queued")
_HEADLINE = (*MEASURED[:3], "mode", "label", "cause", "state", "ended", *KEPT)
_WRITER = ("writer_tid", "writer_pid", "writer_comm", "writer_wait_ns")
ELSEWHERE = {*_HEADLINE, "certainty", *PARTIES, *STACKS, *_LISTS, *_WRITER}


def events(output: EventsData, declared: Output) -> RenderableType:
    """Returns the first rows of an events output, written by its declaration."""
    parts: list[RenderableType] = []
    for row in output.rows[:SHOWN]:
        parts += _advice(row) if isinstance(declared, Advice) else _event(row, declared)
    return Group(*parts, *more(output.rows, are_all=output.total is None))


def _advice(row: Row) -> list[Text]:
    command = Text(f"  mmaplock-bt run {safe(row['run'])}", style="bold")
    return [command, Text(f"    {safe(row['why'])}")]


def _event(row: Row, declared: Output) -> list[RenderableType]:
    names = [one.name for one in declared.columns]
    lines: list[RenderableType] = [Padding(_headline(row, declared), (0, 0, 0, 2))]
    lines += [Text(f"    {text}") for text in (parties(row, names), _doubt(row)) if text]
    lines += [Text(f"    {text}", style="dim") for text in (_extra(row, declared),) if text]
    return [*lines, *_behind(row), *_queued(row), *frames(row)]


def _doubt(row: Row) -> str:
    is_likely = row.get("certainty") == "likely"
    return "likely, not certain: of readers the lock names the last that came" if is_likely else ""


def _headline(row: Row, declared: Output) -> Text:
    text = Text(no_wrap=False, overflow="fold")  # nothing of it is cut off
    measured = _measured(row, declared.columns)
    if measured is not None:
        if "before" in (row.get("state") or ""):
            text.append("at least ")
        text.append(format_ns(column(row, measured)), style="bold")
        mode = row.get("mode") or getattr(declared, "mode", None) or ""
        text.append(
            f" {mode} {row.get('state') or measured.removesuffix('_ns')}".replace("  ", " ")
        )
    if ended := row.get("ended"):
        text.append(", ended since" if ended == "yes" else ", still open", style="bold red")
    if label := row.get("label"):
        text.append(f": {safe(label)}", style="bold yellow")
    if cause := row.get("cause"):
        text.append(f"  {safe(cause)}", style="bold")
    if kept := kept_by(row):
        text.append(f", kept by {kept}", style="bold yellow")
    if (time_ns := row.get("time_ns")) is not None:
        text.append(f"  at +{format_ns(time_ns)}", style="dim")
    return text


def _measured(row: Row, columns: tuple[Column, ...]) -> str | None:
    """The column that says how long the event lasted."""
    names = {one.name for one in columns}
    return next((n for n in MEASURED if n in names and column(row, n) is not None), None)


def _extra(row: Row, declared: Output) -> str:
    """The columns that no other line shows."""
    return ", ".join(
        f"{one.name.removesuffix('_ns').replace('_', ' ')} {cell(column(row, one.name), one)}"
        for one in declared.columns
        if one.name not in ELSEWHERE
    )


def _behind(row: Row) -> list[Text]:
    """The holds that a wait overlapped."""
    lines: list[Text] = []
    for hold in row.get("behind") or ():
        text = (
            f"    behind {format_ns(hold['overlap_ns'])} of a {safe(hold['mode'])} hold of "
            f"{format_ns(hold['hold_ns'])} by {who(hold['comm'], hold['pid'])}"
        )
        cause = f": {safe(hold['cause'])}" if hold.get("cause") else ""
        lines.append(Text(text + cause, style="yellow"))
        lines += frames({"kernel_stack": (hold["kernel_stack"] or [])[:4]}, 8)
    return lines


def _queued(row: Row) -> list[Text]:
    """A convoy's writer, then all who waited, longest first."""
    if row.get("writer_tid") is None:
        return []
    writer = who(row["writer_comm"], row["writer_pid"])
    text = f"    writer {writer} waited {format_ns(row['writer_wait_ns'] or 0)} behind it"
    lines = [Text(text, style="yellow")]
    queued = row.get("queued") or []
    for wait in queued[:QUEUED]:
        what = f"{safe(wait['mode']):<5} wait of {format_ns(wait['wait_ns'])}"
        name = who(wait["comm"], wait["pid"])
        lines.append(Text(f"      {what} by {name} thread {wait['tid']}", style="dim"))
    if len(queued) > QUEUED:
        lines.append(Text(f"      … and {len(queued) - QUEUED:,} more", style="dim"))
    return lines
