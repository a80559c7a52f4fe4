"""Folded stacks of holds, weighed by the time that others waited for them."""

from mmaplock_bt.judging.series import Series
from mmaplock_bt.renderers import folded


def render(series: Series) -> str:
    """Renders a line for each stack that somebody waited for."""
    return folded.render(series, victim=True)
