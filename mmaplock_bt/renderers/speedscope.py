"""A file for speedscope (https://www.speedscope.app): time held, and time that others waited."""

import json
from collections.abc import Iterable
from typing import Any

from mmaplock_bt.escaping import safe
from mmaplock_bt.judging.series import Series
from mmaplock_bt.renderers.stack_weights import Stack, Weights, weighed

SCHEMA = "https://www.speedscope.app/file-format-schema.json"


def render(series: Series) -> str:
    """Renders two profiles that share their frames; a stack is a sample, its weight is in ns."""
    found = weighed(series)
    places: dict[str, int] = {}
    held = [(stack, weight.hold_ns) for stack, weight in found.of.items()]
    waited = [(stack, weight.victim_ns) for stack, weight in found.of.items()]
    profiles = [
        _profile("time held", held, places),
        _profile("time that others waited for it", waited, places),
    ]
    file = {
        "$schema": SCHEMA,
        "name": _name(series, found),
        "exporter": safe(f"mmaplock-bt {series.last.tool.version}"),
        "activeProfileIndex": 0 if profiles[0]["endValue"] else 1,
        "shared": {"frames": [{"name": name} for name in places]},
        "profiles": profiles,
    }
    return json.dumps(file, indent=1) + "\n"


def _name(series: Series, found: Weights) -> str:
    return safe(" ".join([f"mmap_lock: {series.last.profile.name}.", *found.lacks]))


def _profile(
    name: str, stacks: Iterable[tuple[Stack, int]], places: dict[str, int]
) -> dict[str, Any]:
    weighed = [(stack, ns) for stack, ns in stacks if ns]
    return {
        "type": "sampled", "name": name, "unit": "nanoseconds", "startValue": 0,
        "endValue": sum(ns for _, ns in weighed),
        "samples": [
            [places.setdefault(frame, len(places)) for frame in stack.under_actor()]
            for stack, _ in weighed
        ],
        "weights": [ns for _, ns in weighed],
    }  # fmt: skip
