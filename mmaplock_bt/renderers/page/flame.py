"""A flame graph: stacks as frames on frames, the outermost on top, as wide as they weigh."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from mmaplock_bt.renderers.stack_weights import Stack
from mmaplock_bt.units import format_ns

ROW = 18  # px
DEEPEST = 260  # 127 frames of the kernel, as many of the user, and whose they are
LEAST = 0.1  # percent of the width: narrower frames are not drawn
Place = Literal["all", "actor", "user", "kernel"]
Step = tuple[str, Place]


@dataclass
class Node:
    """A frame below others; `ns` is its own weight and that of all below it."""

    name: str
    place: Place
    ns: int = 0
    below: dict[Step, "Node"] = field(default_factory=dict)


@dataclass(frozen=True)
class Frame:
    """A drawn frame; x and width in percent, y in px."""

    name: str
    place: Place
    ns: int
    x: float
    width: float
    y: int

    @property
    def title(self) -> str:
        """The whole name, its weight and its share."""
        return f"{self.name}: {format_ns(self.ns)}, {self.width:.1f} %"


@dataclass(frozen=True)
class Flame:
    """A graph; `narrow` and `deep` say how many frames are not drawn."""

    root_ns: int
    frames: list[Frame]
    narrow: int
    deep: int

    @property
    def height(self) -> int:
        """The height in px."""
        return ROW + max((one.y for one in self.frames), default=0)


def path(stack: Stack) -> list[Step]:
    """Returns a stack from the outermost frame in: the actor, its user frames, the kernel's."""
    user, kernel = stack.frames[: stack.user_frames], stack.frames[stack.user_frames :]
    # By function: where in it the thread was, exports tell.
    return [(stack.label("actor"), "actor"), *((one, "user") for one in user),
            *((one.partition("+")[0] or one, "kernel") for one in kernel)]  # fmt: skip


def of(weights: Iterable[tuple[Stack, int]]) -> Flame:
    """Returns the graph of stacks that weigh so many ns."""
    root, deep = Node("all", "all"), 0
    for stack, ns in weights:
        if ns:
            steps = path(stack)
            deep += max(0, len(steps) - DEEPEST)
            _add(root, steps[:DEEPEST], ns)
    drawn = list(_drawn(root, 0, 0, root.ns or 1))
    frames = [one for one in drawn if one.width >= LEAST]
    return Flame(root.ns, frames if root.ns else [], len(drawn) - len(frames), deep)


def _add(root: Node, steps: Iterable[Step], ns: int) -> None:
    at = root
    at.ns += ns
    for step in steps:
        at = at.below.setdefault(step, Node(*step))
        at.ns += ns


def _drawn(node: Node, depth: int, since_ns: int, root_ns: int) -> Iterator[Frame]:
    """A frame and those below it; below a narrow one only it is counted."""
    width = 100 * node.ns / root_ns
    x = round(100 * since_ns / root_ns, 4)
    yield Frame(node.name, node.place, node.ns, x, round(width, 4), ROW * depth)
    if width < LEAST:
        return
    for below in sorted(node.below.values(), key=lambda one: -one.ns):
        yield from _drawn(below, depth + 1, since_ns, root_ns)
        since_ns += below.ns
