"""A comparison as text: for each metric medians, change and certainty; `~` for not shown."""

import json
from collections.abc import Callable
from dataclasses import asdict

from rich.table import Table
from rich.text import Text

from mmaplock_bt.escaping import safe
from mmaplock_bt.judging.comparison import Change, Comparison
from mmaplock_bt.renderers import console, markdown
from mmaplock_bt.units import counted, format_value

HEADS = ("measure", "base", "new", "change", "95 % interval", "p", "runs")
NOTHING = "~"


def render(made: Comparison, color: bool = False) -> str:
    """Renders a comparison for the terminal."""
    out = console.make(color=color)
    out.print(Text(_title(made), style="bold"))
    for note in made.notes:
        out.print(Text(f"  note: {safe(note)}", style="yellow"), soft_wrap=True)
    out.print()
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head in HEADS:
        grid.add_column(head, justify="left" if head == HEADS[0] else "right")
    for change in made.changes:
        cells = [Text(cell) for cell in cells_of(change)]
        if change.is_shown:
            cells[3].stylize("bold red" if (change.change or 1) > 0 else "bold green")
        grid.add_row(*cells)
    out.print(grid if made.changes else Text("no measure was seen in these runs"))
    if made.verdicts:
        out.print()
        console.gates(made.verdicts, out)
    return console.text(out)


def to_json(made: Comparison, _color: bool = False) -> str:
    """Renders a comparison as JSON, without its runs: they have files of their own."""
    whole = asdict(made)
    sizes = {"base": len(made.base), "new": len(made.new)}
    return json.dumps({"schema": 1, "runs": sizes} | {
        name: whole[name] for name in ("changes", "verdicts", "notes")
    }, indent=1) + "\n"  # fmt: skip


def summary(made: Comparison, _color: bool = False) -> str:
    """Renders a comparison as Markdown."""
    rows = [[markdown.code(first), *map(markdown.words, rest)]
            for first, *rest in map(cells_of, made.changes)]  # fmt: skip
    parts = [
        f"## mmaplock-bt: {markdown.words(made.new[-1].profile.name)} compared",
        windows(made),
        "\n".join(f"- {markdown.words(safe(note))}" for note in made.notes),
        markdown.gates(made.verdicts),
        markdown.table(HEADS, rows),
    ]
    whole = "\n\n".join(part for part in parts if part) + "\n"
    return markdown.shortened(whole, markdown.LIMIT_BYTES)


FORMATS: dict[str, Callable[[Comparison, bool], str]] = {
    "table": render,
    "json": to_json,
    "markdown": summary,
}


def cells_of(change: Change) -> tuple[str, ...]:
    """Returns a change's cells in the order of HEADS."""
    unit = change.metric.unit or "count"
    base, new = (
        "-" if value is None else format_value(round(value), unit)
        for value in (change.base, change.new)
    )
    ends = "-" if change.interval is None else " – ".join(f"{end:+.1%}" for end in change.interval)
    shown = _change(change) if change.is_shown else change.reason or NOTHING
    chance = "-" if change.p is None else "<0.001" if change.p < 0.001 else f"{change.p:.3f}"
    sizes = f"{change.runs[0]} + {change.runs[1]}"
    return safe(change.metric.text), base, new, shown, ends, chance, sizes


def _change(change: Change) -> str:
    return "new" if change.change is None else f"{change.change:+.1%}"


def _title(made: Comparison) -> str:
    return f"{safe(made.new[-1].profile.name)}: {windows(made)}"


def windows(made: Comparison) -> str:
    """Returns how many runs there are, and when each series' last one began, to the minute."""
    base, new = (safe(runs[-1].window.start[:16]) for runs in (made.base, made.new))
    return f"{counted(len(made.base), 'run')} of {base} and {len(made.new)} of {new}"
