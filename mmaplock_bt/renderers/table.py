"""The terminal report: the worst first, under 100 columns, plain when piped."""

import io
from collections.abc import Iterable
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from mmaplock_bt.result import Books, Loss, OutputData, Result, Row
from mmaplock_bt.units import format_ns, format_value

WIDTH = 99
SHOWN = 10
BAR = 28
_STACKS = ("kernel_stack", "user_stack")
_HEADLINE = ("hold_ns", "wait_ns", "mode", "label")
_PARTIES = ("pid", "tid", "comm", "owner_pid", "owner_comm", "owner_kind", "mm", "time_ns")


def render(result: Result, *, color: bool = False) -> str:
    """`color` is for a terminal; without it the text holds no escape sequence at all."""
    out = io.StringIO()
    console = Console(
        file=out, width=WIDTH, force_terminal=color, no_color=not color, highlight=False
    )
    console.print(_title(result))
    for name, output in result.outputs.items():
        if not output.hidden:
            console.print()
            console.print(Text(f"{output.title} ({name})", style="bold"))
            console.print(_body(output), no_wrap=True, overflow="ellipsis")
    console.print()
    console.print(Text(_books(result.books)), soft_wrap=False)
    for message in result.messages:
        console.print(Text(f"bpftrace: {safe(message)}"), soft_wrap=True)
    console.print(
        Text(_loss(result.loss, result.books), style="" if result.loss.complete else "bold red")
    )
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def safe(value: object) -> str:
    """Text from outside made harmless: everything unprintable becomes an escape like \\x1b."""
    text = str(value)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _title(result: Result) -> Text:
    window, target = result.window, result.target
    text = Text(result.profile.name, style="bold")
    text.append(
        f"  {format_ns(window.duration_ns)}, ended by {window.ended_by.replace('_', ' ')}"
        f"  ·  Linux {safe(target.kernel)}  ·  bpftrace {safe(target.bpftrace)}",
        style="dim",
    )
    if window.command is not None:
        argv = safe(" ".join(window.command.argv))
        shown = argv if len(argv) <= 70 else argv[:69] + "…"
        text.append(f"\n{shown}: status {window.command.status}", style="dim")
    return text


def _body(output: OutputData) -> RenderableType:
    if not output.rows:
        return Text("  none seen", style="dim")
    match output.kind:
        case "histogram":
            return Group(*(_histogram(row, output.unit) for row in output.rows))
        case "events":
            return _events(output.rows)
        case _:
            return _table(output)


def _histogram(row: Row, unit: str) -> RenderableType:
    quantiles = row["quantiles"]
    lines = [
        Text(
            f"  {_key(row['key'])}  count {row['count']:,}  total {_number(row['sum'], unit)}"
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
    stacked = any(name in _STACKS for name in output.keys)
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    grid.add_column("  ")
    names = [name for name in rows[0]["key"] if name not in _STACKS]
    for name in (*names, "count"):
        grid.add_column(name, justify="left" if name in names else "right")
    timed: list[str] = [name for name in ("sum", "max") if name in rows[0]]
    for name in timed:
        grid.add_column("total" if name == "sum" else name, justify="right")
    parts: list[RenderableType] = [grid]
    for row in rows:
        cells = [_cell(row["key"][name]) for name in names]
        numbers = [f"{row['count']:,}", *(_number(row[name], output.unit) for name in timed)]
        grid.add_row("", *(Text(cell) for cell in (*cells, *numbers)))
    if stacked:
        parts = [part for row in rows for part in _stacked(row, output.unit, timed)]
    return Group(*parts, *_more(output.rows))


def _stacked(row: Row, unit: str, timed: list[str]) -> Iterable[RenderableType]:
    plain = {k: v for k, v in row["key"].items() if k not in _STACKS}
    figures = [f"count {row['count']:,}"]
    figures += [f"{'total' if n == 'sum' else n} {_number(row[n], unit)}" for n in timed]
    yield Text(f"  {_key(plain)}  {'  '.join(figures)}".rstrip())
    yield from _frames(row["key"])


def _events(rows: list[Row]) -> RenderableType:
    parts: list[RenderableType] = []
    for row in rows[:SHOWN]:
        parts.append(_headline(row))
        parts.append(Text("    " + _parties(row)))
        extra = _extra(row)
        if extra:
            parts.append(Text("    " + extra, style="dim"))
        for hold in row.get("behind") or []:
            parts.append(
                Text(
                    f"    behind {format_ns(hold['overlap_ns'])} of a {hold['mode']} hold of "
                    f"{format_ns(hold['hold_ns'])} by {_who(hold['comm'], hold['pid'])}",
                    style="yellow",
                )
            )
            parts += _frames({"kernel_stack": hold["kernel_stack"][:4]}, 8)
        parts += _frames(row)
    return Group(*parts, *_more(rows))


def _headline(row: Row) -> Text:
    """The figure first, then what it is."""
    measured = "hold_ns" if row.get("hold_ns") is not None else "wait_ns"
    text = Text("  ")
    if row.get(measured) is not None:
        text.append(format_ns(row[measured]), style="bold")
        text.append(f" {row.get('mode') or 'write'} {measured.removesuffix('_ns')}")
    if row.get("label"):
        text.append(f": {row['label']}", style="bold yellow")
    if "time_ns" in row:
        text.append(f"  at +{format_ns(row['time_ns'])}", style="dim")
    return text


def _parties(row: Row) -> str:
    """actor and owner, once where they are the same process."""
    actor = _who(row.get("comm"), row.get("pid"))
    if row.get("tid") != row.get("pid"):
        actor += f" thread {row.get('tid')}"
    kind = row.get("owner_kind", "process")
    owner = _who(row.get("owner_comm"), row.get("owner_pid"))
    if kind == "process" and row.get("owner_pid") == row.get("pid"):
        return f"by {actor}, on its own address space"
    what = {
        "process": f"on {owner}",
        "fork_child": f"on the newborn child of {owner}",
        "exec": f"on the new image of {owner}",
        "teardown": f"tearing down {owner}",
    }
    return f"by {actor}, {what.get(str(kind), f'on {kind} memory')}"


def _who(comm: str | None, pid: int | None) -> str:
    if pid is None:
        return "a process that is gone"
    return f"{safe(comm) if comm else 'unnamed'}[{pid}]"


def _extra(row: Row) -> str:
    known = {*_HEADLINE, *_PARTIES, *_STACKS, "behind"}
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
        if stack and name == "user_stack":
            lines.append(Text(" " * indent + "-- user", style="dim"))
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
    return "  ".join(safe(v) if k == "mode" else f"{k} {_cell(v)}" for k, v in key.items())


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


def _loss(loss: Loss, books: Books) -> str:
    if loss.complete:
        return "loss:  none known"
    names = ("lost_events", "map_full", "stack_errors", "unparsed_lines")
    found = [f"{n.replace('_', ' ')} {getattr(loss, n):,}" for n in names if getattr(loss, n)]
    if loss.map_full:
        found.append("give the profile more map_keys")
    if loss.probes_attached != loss.probes_expected:
        found.append(f"probes attached {loss.probes_attached} of {loss.probes_expected}")
    if books.residue:
        found.append("the books do not balance")
    return f"loss:  INCOMPLETE: {', '.join(found) or 'bpftrace did not see the window through'}"
