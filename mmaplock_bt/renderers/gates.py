"""The verdicts alone, as the terminal report ends with them."""

from mmaplock_bt.judging.series import Series
from mmaplock_bt.renderers import console, table


def render(series: Series, *, color: bool = False) -> str:
    out = console.make(color=color)
    out.print(table.title(series.runs))
    console.gates(series.verdicts, out, series.how)
    return console.text(out)
