"""A flame graph: stacks as frames on frames, the outermost on top, as wide as they weigh.

One of two series is as wide as the one, and its colours say how the other differs.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from mmaplock_bt.renderers.stack_weights import Stack
from mmaplock_bt.units import format_ns

ROW = 18  # px
DEEPEST = 260  # 127 frames of the kernel, as many of the user, and whose they are
LEAST = 0.1  # percent of the width: narrower frames are not drawn
# From such a part of the larger one on a difference has the next colour: from 10 %, half, twice
# as much again on.
SHARES = (1 / 11, 1 / 3, 2 / 3)
# Light enough for black letters, on a dark page, too.
COLORS = {
    "all": "#d9d9d9", "actor": "#c9d3e6", "user": "#bfe3b4", "kernel": "#f6d58a",
    "less3": "#72a8e4", "less2": "#a5c8ef", "less1": "#d3e4f7", "same": "#e2e2e2",
    "more1": "#fad9cb", "more2": "#f5b196", "more3": "#ef8a68",
}  # fmt: skip
Place = Literal["all", "actor", "user", "kernel"]
Step = tuple[str, Place]
Path = tuple[Step, ...]
Weights = Iterable[tuple[Path, Sequence[int]]]


@dataclass
class Node:
    """A frame below others; `ns` are its own weights and those of all below it."""

    name: str
    place: Place
    ns: list[int]
    below: dict[Step, "Node"] = field(default_factory=dict)

    def add(self, ns: Sequence[int]) -> None:
        """Adds weights to its own."""
        for turn, one in enumerate(ns):
            self.ns[turn] += one


@dataclass(frozen=True)
class Frame:
    """A drawn frame; x and width in percent, y in px; `color` is one of COLORS."""

    name: str
    ns: int
    color: str
    text: str
    title: str
    x: float
    width: float
    y: int


@dataclass(frozen=True)
class Flame:
    """A graph of some columns of weights; `narrow`, `deep`: how many frames are not drawn."""

    columns: tuple[int, ...]
    root_ns: int
    said: str
    frames: list[Frame]
    narrow: int
    deep: int

    @property
    def height(self) -> int:
        """The height in px."""
        return ROW + max((one.y for one in self.frames), default=0)


def path(stack: Stack) -> Path:
    """Returns a stack from the outermost frame in: the actor, its user frames, the kernel's."""
    user, kernel = stack.frames[: stack.user_frames], stack.frames[stack.user_frames :]
    # By function: where in it the thread was, exports tell.
    return ((stack.label("actor"), "actor"), *((one, "user") for one in user),
            *((one.partition("+")[0] or one, "kernel") for one in kernel))  # fmt: skip


def of(weights: Weights, *columns: int, per: str = "") -> Flame:
    """Returns the graph of paths with their weights in ns.

    It is as wide as the first of the columns. With another one it tells the difference: of the two
    the one with the lower number is the base.
    """
    root, deep = Node("all", "all", [0] * len(columns)), 0
    for steps, row in weights:
        ns = [row[column] for column in columns]
        if any(ns):
            deep += max(0, len(steps) - DEEPEST)
            _add(root, steps[:DEEPEST], ns)
    drawn = list(_drawn(root, 0, 0, root.ns[0] or 1, Words(columns, per, root.ns[0])))
    frames = [one for one in drawn if one.width >= LEAST]
    said = Words(columns, per, root.ns[0]).amount(root.ns)
    return Flame(columns, root.ns[0], said, frames if root.ns[0] else [],
                 sum(one.ns > 0 for one in drawn) - len(frames), deep)  # fmt: skip


@dataclass(frozen=True)
class Words:
    """How weights are written: of one column with its share, of two as a difference."""

    columns: tuple[int, ...]
    per: str
    root_ns: int

    def pair(self, ns: Sequence[int]) -> tuple[int, int]:
        """Returns (base, new) of two columns."""
        base, new = sorted(zip(self.columns, ns, strict=True))
        return base[1], new[1]

    def amount(self, ns: Sequence[int]) -> str:
        """Writes '12.0 ms', or 'base 12.0 ms, new 30.0 ms per run, +150.0 %'."""
        if len(ns) == 1:
            return format_ns(ns[0])
        base, new = self.pair(ns)
        return f"base {format_ns(base)}, new {format_ns(new)}{self.per}, {change(base, new)}"

    def title(self, node: Node) -> str:
        """Writes the whole name, its weight and, of one column, its share."""
        share = "" if len(node.ns) > 1 else f", {100 * node.ns[0] / (self.root_ns or 1):.1f} %"
        return f"{node.name}: {self.amount(node.ns)}{share}"

    def text(self, node: Node) -> str:
        """Writes what stands on a frame: its name, and how it changed."""
        if self.color(node) in ("same", node.place):
            return node.name
        return f"{node.name} {change(*self.pair(node.ns))}"

    def color(self, node: Node) -> str:
        """Returns one of COLORS: by whose frame it is, of two columns by the difference."""
        return node.place if len(node.ns) == 1 else level(*self.pair(node.ns))


def change(base: int, new: int) -> str:
    """Writes '+150.0 %'; of what only one has, in which."""
    if not base or not new:
        return "in neither" if base == new else "only in new" if new else "only in base"
    return f"{100 * (new - base) / base:+,.1f} %"


def level(base: int, new: int) -> str:
    """Returns 'same', or 'more' or 'less' with 1 to 3, by SHARES."""
    share = (new - base) / max(base, new, 1)
    reached = sum(abs(share) >= one for one in SHARES)
    return f"{'more' if share > 0 else 'less'}{reached}" if reached else "same"


def _add(root: Node, steps: Iterable[Step], ns: Sequence[int]) -> None:
    at = root
    at.add(ns)
    for step in steps:
        at = at.below.setdefault(step, Node(*step, [0] * len(ns)))
        at.add(ns)


def _drawn(node: Node, depth: int, since_ns: int, root_ns: int, words: Words) -> Iterator[Frame]:
    """A frame and those below it; below a narrow one only it is counted."""
    width = 100 * node.ns[0] / root_ns
    x = round(100 * since_ns / root_ns, 4)
    yield Frame(node.name, node.ns[0], words.color(node), words.text(node), words.title(node),
                x, round(width, 4), ROW * depth)  # fmt: skip
    if width < LEAST:
        return
    for below in sorted(node.below.values(), key=lambda one: -one.ns[0]):
        yield from _drawn(below, depth + 1, since_ns, root_ns, words)
        since_ns += below.ns[0]
