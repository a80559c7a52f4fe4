"""The terminal report: the worst first, under 100 columns, plain when piped."""

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from mmaplock_bt.judging.series import Series
from mmaplock_bt.renderers import console
from mmaplock_bt.result.loss import missing
from mmaplock_bt.result.model import Books, OutputData, Result, Row
from mmaplock_bt.result.observe import merged
from mmaplock_bt.units import format_ns, format_value, safe

SHOWN = 10
BAR = 28
CGROUP = 30
QUEUED = 8
WORTH_TELLING = 10  # percent of the window without a CPU
_STACKS = ("current_stack", "kernel_stack", "user_stack")
_LISTS = ("behind", "queued")
_MEASURED = ("hold_ns", "wait_ns", "age_ns", "charged_ns")
_HEADLINE = (*_MEASURED[:3], "mode", "label", "cause", "state", "ended")
_PARTIES = (
    *("pid", "tid", "comm", "actor_kind", "owner_pid", "owner_comm", "owner_kind", "cgroup"),
    *("mm", "time_ns"),
)
_MARKS = {"user_stack": "-- user", "current_stack": "-- when last seen"}
_HEADS = {"sum": "total", "count_permille": "of all", "sum_permille": "of their time"}
_WRITER = ("writer_tid", "writer_pid", "writer_comm", "writer_wait_ns")


def render(series: Series, *, color: bool = False) -> str:
    """`color` is for a terminal; without it the text holds no escape sequence at all.

    Of several runs a line each: the whole of one is `report`'s.
    """
    out = console.make(color=color)
    if len(series.runs) == 1:
        _run(series.last, out)
    else:
        _runs(series.runs, out)
    if series.verdicts:
        out.print()
        console.gates(series.verdicts, out, series.how)
    return console.text(out)


def _run(result: Result, out: Console) -> None:
    out.print(title([result]))
    for name, output in result.outputs.items():
        if not output.hidden:
            out.print()
            out.print(Text(f"{output.title} ({name})", style="bold"))
            out.print(_body(output, result.window.duration_ns), no_wrap=True, overflow="ellipsis")
    out.print()
    out.print(Text(_books(result.books)), soft_wrap=False)
    for message in result.messages:
        out.print(Text(f"bpftrace: {safe(message)}"), soft_wrap=True)
    if (percent := int(100 * (result.window.cpu_wait_share or 0))) >= WORTH_TELLING:
        out.print(Text(f"CPU:   for {percent} % of the window some task waited for one"))
    out.print(Text(_loss(result), style="" if result.loss.complete else "bold red"))


def _runs(runs: Sequence[Result], out: Console) -> None:
    out.print(title(runs))
    out.print()
    for turn, result in enumerate(runs, 1):
        command = result.window.command
        status = "" if command is None else f", status {command.status}"
        found = missing(result)
        loss = f"INCOMPLETE: {found}" if found else "complete"
        out.print(
            Text(
                f"  {turn:>3}  {format_ns(result.window.duration_ns)}{status}, "
                f"{result.books.acquires or 0:,} acquisitions, {loss}"
            )
        )


def title(runs: Sequence[Result]) -> Text:
    """The profile, the windows, the machine, the command."""
    window, target = runs[-1].window, runs[-1].target
    text = Text(runs[-1].profile.name, style="bold")
    ended_by = window.ended_by.replace("_", " ")
    windows = f"{format_ns(window.duration_ns)}, ended by {ended_by}"
    text.append(
        f"  {windows if len(runs) == 1 else f'{len(runs)} runs'}"
        f"  ·  Linux {safe(target.kernel)}  ·  bpftrace {safe(target.bpftrace)}",
        style="dim",
    )
    if window.command is not None:
        argv = safe(" ".join(window.command.argv))
        shown = argv if len(argv) <= 70 else argv[:69] + "…"
        status = f": status {window.command.status}" if len(runs) == 1 else ""
        text.append(f"\n{shown}{status}", style="dim")
    return text


def _body(output: OutputData, window_ns: int) -> RenderableType:
    if not output.rows:
        return Text("  none seen", style="dim")
    match output.kind:
        case "histogram":
            return _histograms(output, window_ns)
        case "events":
            return _events(output.rows)
        case _:
            return _table(output)


def _histograms(output: OutputData, window_ns: int) -> RenderableType:
    """One per key; where these are too many, one for all processes."""
    shown = output.rows
    if len(shown) > SHOWN:
        groups: dict[tuple[tuple[str, Any], ...], list[Row]] = {}
        for row in shown:
            key = tuple((k, v) for k, v in row["key"].items() if k not in _PARTIES)
            groups.setdefault(key, []).append(row)
        shown = [merged(found, dict(key)) for key, found in groups.items()]
    parts = [_histogram(row, output.unit, window_ns) for row in shown[:SHOWN]]
    note = f"  {len(output.rows):,} histograms by process, together (each is in -o FILE.json)"
    split = [Text(note, style="dim")] if len(shown) < len(output.rows) else []
    return Group(*parts, *split, *_more(shown))


def _histogram(row: Row, unit: str, window_ns: int) -> RenderableType:
    quantiles = row["quantiles"]
    lines = [
        Text(
            f"  {_key(row['key'])}  count {row['count']:,}{_rate(row['count'], window_ns)}"
            f"  total {_number(row['sum'], unit)}{_share(row['sum'], unit, window_ns)}"
            f"  max {_number(row['max'], unit)}"
        ),
        Text(
            "    " + "   ".join(f"{q} {_interval(quantiles[q], unit)}" for q in ("p50", "p99")),
            style="dim",
        ),
    ]
    octaves = _octaves(row["buckets"])
    most = max(octaves.values())
    for power in range(min(octaves), max(octaves) + 1):
        count = octaves.get(power, 0)
        low = format_value(1 << power if power else 0, unit)
        bar = "█" * round(BAR * count / most) or ("▏" if count else "")
        line = Text(f"    {low:>9} ")
        line.append(f"{bar:<{BAR}}", style="cyan")
        lines.append(line.append(f" {count:>11,}"))
    return Group(*lines)


def _rate(count: int, window_ns: int) -> str:
    return f" ({count * 10**9 / window_ns:,.0f}/s)" if window_ns else ""


def _share(total: int | None, unit: str, window_ns: int) -> str:
    """Of the window; above 100 % where several threads or address spaces add up."""
    if total is None or unit != "ns" or not window_ns:
        return ""
    return f" ({100 * total / window_ns:.2g} % of the window)"


def _interval(ends: list[int | None], unit: str) -> str:
    low, high = ends
    if low is None:
        return f"≤ {_number(high, unit)}"
    if high is None:
        return f"≥ {_number(low, unit)}"
    return f"{_number(low, unit)}–{_number(high, unit)}"


def _octaves(buckets: list[list[Any]]) -> dict[int, int]:
    """Buckets summed per power of two: the picture needs no finer ones. Below 0 joins 0."""
    found: dict[int, int] = {}
    for low, _, count in buckets:
        power = max(0, max(0, low or 0).bit_length() - 1)
        found[power] = found.get(power, 0) + count
    return found


def _table(output: OutputData) -> RenderableType:
    rows = output.rows[:SHOWN]
    if any(name in _STACKS for row in rows for name in (*row, *row["key"])):
        parts = [part for row in rows for part in _stacked(row, output.unit)]
        return Group(*parts, *_more(output.rows))
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    grid.add_column("  ")
    names = list(rows[0]["key"])
    figures = [name for name in rows[0] if name != "key"]
    for name in names:
        grid.add_column(name)
    for name in figures:
        grid.add_column(_HEADS.get(name, name.removesuffix("_ns")), justify="right")
    for row in rows:
        cells = [_key_cell(name, row["key"][name]) for name in names]
        numbers = [_figure(name, row[name], output.unit) for name in figures]
        grid.add_row("", *(Text(cell) for cell in (*cells, *numbers)))
    return Group(grid, *_more(output.rows))


def _key_cell(name: str, value: object) -> str:
    """A cgroup's end says most."""
    text = _cell(value)
    return f"…{text[1 - CGROUP :]}" if name == "cgroup" and len(text) > CGROUP else text


def _figure(name: str, value: Any, unit: str) -> str:
    if name in ("sum", "max"):
        return _number(value, unit)
    if name.endswith("_ns"):
        return _number(value, "ns")
    if name.endswith("_permille"):
        return "-" if value is None else f"{value / 10:.1f} %"
    return f"{value:,}" if isinstance(value, int) else _cell(value)


def _stacked(row: Row, unit: str) -> Iterable[RenderableType]:
    """The figure, who and why; then the other figures; then the stack."""
    flat = {**row, **row["key"]}
    first = Text("  ")
    first.append(_number(row["sum"], unit), style="bold")
    if flat.get("cause"):
        first.append(f"  {safe(flat['cause'])}", style="bold")
    plain = {k: v for k, v in row["key"].items() if k not in (*_STACKS, *_PARTIES, "cause")}
    yield first.append(f"  {_key(plain)}".rstrip())
    if "comm" in flat or "owner_pid" in flat:
        yield Text("    " + _parties(flat))
    yield Text("    " + ", ".join(_figures(row, unit)), style="dim")
    yield from _frames(flat)


def _figures(row: Row, unit: str) -> list[str]:
    known = (*_STACKS, *_PARTIES, "key", "sum", "period_ns", "period_error_ns")
    found = [
        f"{name.removesuffix('_ns')} {_figure(name, value, unit)}"
        for name, value in row.items()
        if name not in known
    ]
    if row.get("period_ns"):
        error = format_ns(row["period_error_ns"])
        found.append(f"every {format_ns(row['period_ns'])} ± {error}")
    return found


def _events(rows: list[Row]) -> RenderableType:
    parts: list[RenderableType] = []
    for row in rows[:SHOWN]:
        if "why" in row:  # advice
            parts.append(Text(f"  mmaplock-bt run {row['run']}", style="bold"))
            parts.append(Text(f"    {safe(row['why'])}"))
            continue
        parts += [_headline(row), Text("    " + _parties(row))]
        if extra := _extra(row):
            parts.append(Text("    " + extra, style="dim"))
        parts += _behind(row)
        parts += _queued(row)
        parts += _frames(row)
    return Group(*parts, *_more(rows))


def _headline(row: Row) -> Text:
    """The figure first, then what it is."""
    measured = next((name for name in _MEASURED if row.get(name) is not None), None)
    text = Text("  ")
    if measured is not None:
        if "before" in str(row.get("state")):
            text.append("at least ")
        text.append(format_ns(row[measured]), style="bold")
        what = row.get("state") or measured.removesuffix("_ns")
        text.append(f" {row.get('mode') or 'write'} {what}")
    if row.get("ended"):
        text.append(", ended since" if row["ended"] == "yes" else ", still open", style="bold red")
    if row.get("label"):
        text.append(f": {row['label']}", style="bold yellow")
    if row.get("cause"):
        text.append(f"  {safe(row['cause'])}", style="bold")
    if "time_ns" in row:
        text.append(f"  at +{format_ns(row['time_ns'])}", style="dim")
    return text


def _behind(row: Row) -> list[RenderableType]:
    lines: list[RenderableType] = []
    for hold in row.get("behind") or []:
        text = (
            f"    behind {format_ns(hold['overlap_ns'])} of a {hold['mode']} hold of "
            f"{format_ns(hold['hold_ns'])} by {_who(hold['comm'], hold['pid'])}"
        )
        cause = f": {safe(hold['cause'])}" if hold.get("cause") else ""
        lines.append(Text(text + cause, style="yellow"))
        lines += _frames({"kernel_stack": hold["kernel_stack"][:4]}, 8)
    return lines


def _queued(row: Row) -> list[RenderableType]:
    """A convoy's writer, then everybody who waited, longest first."""
    if row.get("writer_tid") is None:
        return []
    writer = _who(row["writer_comm"], row["writer_pid"])
    text = f"    writer {writer} waited {format_ns(row['writer_wait_ns'])} behind it"
    lines: list[RenderableType] = [Text(text, style="yellow")]
    queued = row.get("queued") or []
    for wait in queued[:QUEUED]:
        who = _who(wait["comm"], wait["pid"])
        what = f"{wait['mode']:<5} wait of {format_ns(wait['wait_ns'])}"
        lines.append(Text(f"      {what} by {who} thread {wait['tid']}", style="dim"))
    if len(queued) > QUEUED:
        lines.append(Text(f"      … and {len(queued) - QUEUED:,} more", style="dim"))
    return lines


def _parties(row: Row) -> str:
    """actor and owner, once where they are the same process."""
    known = row.get("pid") is not None
    actor = _who(row.get("comm"), row["pid"]) if known else "nobody recorded"
    if row.get("actor_kind") == "kernel":
        actor += " (kernel thread)"
    if row.get("tid") not in (None, row.get("pid")):
        actor += f" thread {row.get('tid')}"
    kind = row.get("owner_kind") or "process"
    owner = _who(row.get("owner_comm"), row.get("owner_pid"))
    if kind == "process" and row.get("owner_pid") == row.get("pid"):
        return f"by {actor}, on its own address space{_in_cgroup(row)}"
    what = {
        "process": f"on {owner}",
        "fork_child": f"on the newborn child of {owner}",
        "exec": f"on the new image of {owner}",
        "teardown": f"tearing down {owner}",
    }
    return f"by {actor}, {what.get(str(kind), f'on {kind} memory')}{_in_cgroup(row)}"


def _in_cgroup(row: Row) -> str:
    cgroup = row.get("cgroup")
    return f" in {safe(_key_cell('cgroup', cgroup))}" if cgroup and cgroup != "/" else ""


def _who(comm: str | None, pid: int | None) -> str:
    if pid is None:
        return "a process that is gone"
    return f"{safe(comm) if comm else 'unnamed'}[{pid}]"


def _extra(row: Row) -> str:
    known = {*_HEADLINE, *_PARTIES, *_STACKS, *_LISTS, *_WRITER}
    found = []
    for name, value in row.items():
        if name not in known:
            text = format_ns(value) if name.endswith("_ns") else _cell(value)
            found.append(f"{name.removesuffix('_ns').replace('_', ' ')} {text}")
    return ", ".join(found)


def _frames(row: Row, indent: int = 6) -> list[RenderableType]:
    lines: list[RenderableType] = []
    for name in _STACKS:
        stack = row.get(name) or []
        if stack and name in _MARKS:
            lines.append(Text(" " * indent + _MARKS[name], style="dim"))
        lines += [
            Text(" " * indent + safe(frame), overflow="ellipsis", no_wrap=True, style="dim")
            for frame in stack
        ]
    return lines


def _more(rows: list[Row]) -> list[RenderableType]:
    left = len(rows) - SHOWN
    return (
        [Text(f"  … and {left:,} more (all are in -o FILE.json)", style="dim")] if left > 0 else []
    )


def _key(key: dict[str, Any]) -> str:
    return "  ".join(safe(v) if k == "mode" else f"{k} {_key_cell(k, v)}" for k, v in key.items())


def _cell(value: object) -> str:
    return "-" if value is None else f"{value:,}" if isinstance(value, float) else safe(value)


def _number(value: int | None, unit: str) -> str:
    return "-" if value is None else format_value(value, unit)


def _books(books: Books) -> str:
    if books.starts is None:
        return "books: not measured (bpftrace ended without printing its maps)"
    line = (
        f"books: starts {books.starts:,} + downgrades {books.downgrades:,} = acquires "
        f"{books.acquires:,} + failed {books.failed:,} + open waits {books.open_waits:,};\n"
        f"       releases {books.releases:,}, open holds {books.open_holds:,}, "
        f"begun before the window {books.orphan_releases:,}, residue {books.residue:,}"
    )
    if books.residue:
        line += (
            f"\n       The books do not balance: {books.residue:,} lock events have no partner, so "
            "that many\n       waits or holds are missing or wrong above."
        )
    return line


def _loss(result: Result) -> str:
    found = missing(result)
    return f"loss:  INCOMPLETE: {found}" if found else "loss:  none known"
