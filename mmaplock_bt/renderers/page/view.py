"""What the page's scripts count again when a range of time is selected: plain numbers and texts."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mmaplock_bt.errors import UsageError
from mmaplock_bt.renderers import stack_weights
from mmaplock_bt.renderers.page import blame, flame, sheets, spans
from mmaplock_bt.renderers.page.spans import Spans
from mmaplock_bt.renderers.slices import Slice
from mmaplock_bt.renderers.stack_weights import Weights
from mmaplock_bt.result.embedded import inert
from mmaplock_bt.result.model import Result
from mmaplock_bt.result.rows import column

MOST = 100_000  # charges and holds with stacks
PLACES = ("all", "actor", "user", "kernel")


@dataclass(frozen=True)
class View:
    """JSON for a script element, and sentences about what is not in it."""

    json: str
    notices: list[str]


class _Numbered:
    """Each value once, with its number."""

    def __init__(self) -> None:
        self.of: dict[Any, int] = {}

    def __call__(self, value: Any) -> int:
        return self.of.setdefault(value, len(self.of))


class _Stacks:
    """Texts, frames and stacks, each once."""

    def __init__(self) -> None:
        self.text, self.frames, self.stacks = _Numbered(), _Numbered(), _Numbered()

    def __call__(self, path: flame.Path) -> int:
        steps = path[: flame.DEEPEST]
        numbers = [self.frames((self.text(name), PLACES.index(place))) for name, place in steps]
        return self.stacks(tuple(numbers))

    def told(self) -> dict[str, Any]:
        """Returns them for flame.js, with how it paints."""
        return {
            "text": list(self.text.of), "frames": list(self.frames.of),
            "stacks": list(self.stacks.of), "colors": flame.COLORS, "shares": flame.SHARES,
        }  # fmt: skip


def of(run: Result, found: Spans, weights: Weights | None) -> View:
    """Returns what the scripts of a run's page read.

    text: all texts, others have their numbers. frames: [text, place]. stacks: [frames], outermost
    first. spans: [is a wait, begin, end or null, what, who, whose, cause], in the timeline's order.
    weights: [stack, ns held, ns others waited], of the whole window. weighed: [begin, end, stack,
    ns held, ns others waited] and charges: [begin, end, ns, who waited, for whom, doing what], each
    as far as it is kept one by one.
    """
    stacks = _Stacks()
    text = stacks.text
    begins = {
        (one.row.get("tid"), one.mm, one.ended_ns): one.began_ns
        for one in found.of
        if one.kind == "wait"
    }
    singles, charges = _single(run, weights), [*blame.rows(run)]
    told = {
        "end": found.axis.end_ns,
        "unit": found.axis.unit,
        "rows": sheets.MOST,
        "spans": [[*row[:3], *map(text, row[3:])] for row in map(_span, found.of)],
        "weights": [
            [stacks(flame.path(one)), weight.hold_ns, weight.victim_ns]
            for one, weight in (weights.of.items() if weights else ())
        ],
        "weighed": [
            [*_ends(row, begins), stacks(flame.path(one)), weight.hold_ns, weight.victim_ns]
            for row, one, weight in singles[:MOST]
        ],
        "charges": [
            [*_ends(row, begins), column(row, "charged_ns") or 0, *map(text, blame.side(row))]
            for row in charges[:MOST]
        ],
    }
    notices = [
        *_cut(singles, "holds and parts of waits with a stack"),
        *_cut(charges, "parts of waits"),
    ]
    return View(_written(told | stacks.told()), notices)


def of_weights(weights: Iterable[tuple[flame.Path, Sequence[int]]], per: str) -> str:
    """Returns what the scripts of two series' page read: weights, and per what they are."""
    stacks = _Stacks()
    rows = [[stacks(path), *row] for path, row in weights]
    return _written({"weights": rows, "per": per} | stacks.told())


def _written(told: dict[str, Any]) -> str:
    return inert(json.dumps(told, separators=(",", ":")))


def _cut(found: Sequence[Any], what: str) -> list[str]:
    if len(found) <= MOST:
        return []
    return [f"Of {len(found):,} {what} the first {MOST:,} are there for a selected range of time."]


def _span(one: Slice) -> list[Any]:
    owner = spans.owner(one)
    return [int(one.kind == "wait"), one.began_ns, one.ended_ns, spans.what(one), spans.actor(one),
            owner, spans.cause(one)]  # fmt: skip


def _single(run: Result, weights: Weights | None) -> Sequence[Any]:
    if weights is None:
        return []
    try:
        return [*stack_weights.single(run)]
    except UsageError:
        return []


def _ends(row: Any, begins: dict[Any, int]) -> tuple[int, int]:
    """When a hold began and ended; of a charge, the wait that it is a part of."""
    at_ns = column(row, "time_ns") or 0
    if "charged_ns" in row:
        wait = (row.get("victim_tid"), row.get("mm") or "", at_ns)
        return begins.get(wait, at_ns - (row["charged_ns"] or 0)), at_ns
    return at_ns - (column(row, "hold_ns") or column(row, "age_ns") or 0), at_ns
