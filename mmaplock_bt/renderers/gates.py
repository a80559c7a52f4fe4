"""The verdicts alone, as the terminal report ends with them."""

from mmaplock_bt.renderers import table
from mmaplock_bt.series import Series


def render(series: Series, *, color: bool = False) -> str:
    return table.gates(series, color=color)
