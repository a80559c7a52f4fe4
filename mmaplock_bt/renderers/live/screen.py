"""A moment as a screen: findings first, then rates, open spans and loss."""

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mmaplock_bt.escaping import safe
from mmaplock_bt.renderers import findings
from mmaplock_bt.renderers.live.line import number
from mmaplock_bt.renderers.live.moment import Moment, Rate
from mmaplock_bt.renderers.text.cells import parties
from mmaplock_bt.renderers.wording import followed
from mmaplock_bt.result.rows import Row
from mmaplock_bt.spec.columns import MODES
from mmaplock_bt.units import format_ns

OPEN = 5  # open spans that are shown
NOTES = 3  # sentences beside
UNKNOWN = "unknown"
_PARTIES = ("pid", "tid", "comm", "owner_pid", "owner_comm", "owner_kind")


def screen(moment: Moment, notes: Sequence[str] = ()) -> RenderableType:
    """Returns all of it, the most important first: a small terminal shows the beginning."""
    parts: list[RenderableType] = [head(moment), loss(moment)]
    parts += [_one_line(safe(note)) for note in notes[-NOTES:]]
    parts += [Text(), *_findings(moment), Text()]
    if moment.asks_for_open:
        parts += [open_spans(moment.open), Text()]
    parts.append(rates(moment.rates))
    parts += [Text(sentence, style="dim") for sentence in followed(moment.result)]
    return Group(*parts)


def head(moment: Moment) -> Text:
    """Returns the profile and the window's clock."""
    text = Text(safe(moment.result.profile.name), style="bold")
    return text.append(f"  {moment.clock}  ·  Ctrl-C ends the window, the report follows", "dim")


def loss(moment: Moment) -> Text:
    """Returns what is missing so far, and why counts are not known."""
    if moment.lost:
        return Text(safe(f"INCOMPLETE: {moment.lost}"), style="bold red")
    if moment.unread:
        return Text(safe(f"counts are not read: {moment.unread}"), style="bold yellow")
    return Text("loss: none known so far", style="dim")


def rates(found: Sequence[Rate]) -> Table:
    """Returns how often a second each thing was counted."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("each second")
    for mode in MODES:
        table.add_column(mode, justify="right")
    for one in found:
        table.add_row(Text(safe(one.title)), *(number(one.per_s[mode]) for mode in MODES))
    return table


def open_spans(rows: Sequence[Row]) -> Group:
    """Returns the oldest spans that are open."""
    lines = [Text(f"open now: {len(rows):,}", style="bold")]
    return Group(*lines, *(_one_line(f"  {span(row)}") for row in rows[:OPEN]))


def _one_line(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="ellipsis")


def span(row: Row) -> str:
    """Writes an open span: '1.20 s  read wait by redis-server[812] on its own address space'."""
    age = format_ns(row.get("age_ns") or 0)
    short: Any = {name: value for name, value in row.items() if name != "cgroup"}  # a line is short
    what = f"{age:>8}  {safe(row.get('mode'))} {safe(row['state'])} {parties(short, _PARTIES)}"
    cause = row.get("cause") or UNKNOWN
    return what if cause.startswith(UNKNOWN) else f"{what}: {safe(cause)}"


def _findings(moment: Moment) -> list[RenderableType]:
    if not moment.findings:
        return [Text("no finding so far", style="dim")]
    table = Table.grid(padding=(0, 2, 0, 0))
    for number_, one in enumerate(moment.findings, 1):
        told = Text(safe(one.sentence), style="bold")
        if one.remedy and number_ == 1:
            told.append(f"\nhelps: {safe(one.remedy)}", style="not bold")
        table.add_row(Text(str(number_)), told)
    left = findings.left(moment.result)
    more = [Text(f"   … and {left:,} smaller", style="dim")] if left else []
    return [Text("findings so far", style="bold"), table, *more]
