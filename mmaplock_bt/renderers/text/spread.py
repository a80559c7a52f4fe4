"""Repeated runs: each measure's median, and from what to what it ranges."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mmaplock_bt.escaping import safe
from mmaplock_bt.renderers.summary import Summary, summaries
from mmaplock_bt.result.model import Result
from mmaplock_bt.units import format_value

MOST = 25  # measures; the result files have all of them
_HEADS = ("measure", "median", "least", "most", "spread")


def spread(runs: Sequence[Result]) -> RenderableType:
    """Returns a row for each measure that is the same in every run; nothing where there is none.

    Of quantiles the upper ends count; the spread is from least to most, of the median.
    """
    found = summaries(runs)
    if not found:
        return Group()
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in _HEADS:
        grid.add_column(name, justify="left" if name == _HEADS[0] else "right", no_wrap=True)
    for one in found[:MOST]:
        grid.add_row(f"  {safe(one.metric.text)}", *_figures(one))
    left = len(found) - MOST
    more = [Text(f"  … and {left:,} more (-o FILE.md has all)", style="dim")] if left > 0 else []
    head = Text(f"Medians of {len(runs):,} runs", style="bold")
    return Group(Text(), head, grid, *more)


def _figures(one: Summary) -> list[str]:
    ends = ["-" if end is None else _value(end, one) for end in (one.low, one.high)]
    return [_value(one.value, one), *ends, _share(one)]


def _value(value: float, one: Summary) -> str:
    return format_value(round(value), one.metric.unit or "count")


def _share(one: Summary) -> str:
    if one.low is None or one.high is None or not one.value:
        return "-"
    return f"{(one.high - one.low) / one.value:.0%}"
