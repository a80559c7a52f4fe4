"""Bencher Metric Format: each measure's median, and the ends between which all runs lie."""

import hashlib
import json

from mmaplock_bt.escaping import safe
from mmaplock_bt.judging.series import Series
from mmaplock_bt.renderers.summary import Summary, key_of, summaries

NAME, MEASURE = 1024, 64  # the longest that Bencher takes


def render(series: Series) -> str:
    """Renders the series' measures as Bencher's JSON."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for one in summaries(series.runs):
        name = short(safe(f"{series.last.profile.name}/{key_of(one.metric)}"), NAME)
        found.setdefault(name, {})[short(one.metric.field, MEASURE)] = _metric(one)
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def _metric(one: Summary) -> dict[str, float]:
    """An open end is left out."""
    ends = {"value": one.value, "lower_value": one.low, "upper_value": one.high}
    return {name: end for name, end in ends.items() if end is not None}


def short(name: str, room: int) -> str:
    """Cuts a name to `room` characters; a hash of the whole keeps long names distinct."""
    if len(name) <= room:
        return name
    return f"{name[: room - 17]}…{hashlib.sha256(name.encode()).hexdigest()[:16]}"
