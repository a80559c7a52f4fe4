"""Tables and counters: a grid, or a paragraph for each row where rows have stacks."""

import textwrap
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mmaplock_bt.escaping import safe
from mmaplock_bt.renderers.console import UNBROKEN, WIDTH
from mmaplock_bt.renderers.text.cells import (
    KEPT,
    PARTIES,
    SHOWN,
    STACKS,
    cell,
    estimated,
    figure,
    frames,
    more,
    number,
    parties,
    period,
)
from mmaplock_bt.result.keeping import kept_by
from mmaplock_bt.result.model import CounterData, TableData
from mmaplock_bt.result.rows import TableRow, column
from mmaplock_bt.spec.columns import LEARNT, STANDARD, Column
from mmaplock_bt.spec.outputs import Group as Grouped
from mmaplock_bt.spec.outputs import Output

HEADS = {"sum": "total", "count_permille": "of all", "sum_permille": "of their time"}


def table(output: TableData | CounterData, declared: Output) -> RenderableType:
    """Returns the first rows in the columns that the declaration has."""
    rows: list[Any] = list(output.rows)
    named = keys(declared)
    if any(one.name in STACKS for one in (*named, *declared.figures)):
        parts = [line for row in rows[:SHOWN] for line in _paragraph(row, named, declared)]
        return Group(*parts, *more(rows))
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    grid.add_column("  ")
    for one in named:
        grid.add_column(one.name, overflow="ellipsis")
    for one in declared.figures:
        head = HEADS.get(one.name, one.name.removesuffix("_ns"))
        grid.add_column(head, justify="right", no_wrap=True)  # a figure is never cut
    for row in rows[:SHOWN]:
        words = [cell(column(row["key"], one.name), one).replace(" ", UNBROKEN) for one in named]
        numbers = [figure(row, one) for one in declared.figures]
        grid.add_row("", *(Text(word) for word in (*words, *numbers)))
    return Group(grid, *more(rows))


def keys(declared: Output) -> list[Column]:
    """Returns the key's columns, each pid of a counted table followed by what was learnt of it."""
    if isinstance(declared, Grouped):
        return list(declared.columns)
    names = [n for one in declared.columns for n in (one.name, *LEARNT.get(one.name, ()))]
    own = {one.name: one for one in declared.columns}
    return [own.get(name) or STANDARD[name] for name in dict.fromkeys(names)]


def _paragraph(row: TableRow, keys: list[Column], declared: Output) -> list[Text]:
    """The figure, actor, owner and cause; then the other figures; then the stacks."""
    flat: Any = {**row, **row["key"]}
    names = [one.name for one in (*keys, *declared.figures)]
    first = Text("  ")
    total = estimated(number(row["sum"], declared.unit), row, "sum", declared.unit)
    first.append(total, style="bold")
    if flat.get("cause"):
        first.append(f"  {safe(flat['cause'])}", style="bold")
    if kept := kept_by(flat):
        first.append(f", kept by {kept}", style="bold yellow")
    plain = [one for one in keys if one.name not in (*STACKS, *PARTIES, "cause")]
    first.append(f"  {_words(row, plain)}".rstrip())
    lines = [first, *(Text(f"    {text}") for text in (parties(flat, names),) if text)]
    figures = (text.replace(" ", UNBROKEN) for text in _figures(row, declared))
    for text in textwrap.wrap(", ".join(figures), WIDTH - 4):
        lines.append(Text(f"    {text.replace(UNBROKEN, ' ')}", style="dim"))
    return [*lines, *frames(flat)]


def _words(row: TableRow, keys: list[Column]) -> str:
    told = ((one, cell(column(row["key"], one.name), one)) for one in keys)
    return "  ".join(text if one.name == "mode" else f"{one.name} {text}" for one, text in told)


def _figures(row: TableRow, declared: Output) -> list[str]:
    told = (*STACKS, *PARTIES, "sum", *KEPT, "period_ns", "period_error_ns")
    found = [
        f"{one.name.removesuffix('_ns')} {figure(row, one)}"
        for one in declared.figures
        if one.name not in told and column(row, one.name) is not None
    ]
    return [*found, *(text for text in (period(row),) if text)]
