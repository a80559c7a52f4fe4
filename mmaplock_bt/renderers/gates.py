"""The verdicts alone, as at the end of the terminal report."""

from mmaplock_bt.judging.series import Series
from mmaplock_bt.renderers import console, table


def render(series: Series, *, color: bool = False) -> str:
    """Renders the series' title and verdicts for the terminal."""
    out = console.make(color=color)
    out.print(table.title(series.runs))
    console.gates(series.verdicts, out, series.how)
    return console.text(out)
