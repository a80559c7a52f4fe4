"""The axis of time that heat map and timeline share: from the window's start to its end."""

from collections.abc import Sequence
from dataclasses import dataclass

from mmaplock_bt.renderers.slices import Slice
from mmaplock_bt.result.model import Result
from mmaplock_bt.units import format_ns

TICKS = 6
_STEPS = (1, 2, 5)
_UNITS = ((10**9, "s"), (10**6, "ms"), (10**3, "µs"), (1, "ns"))


@dataclass(frozen=True)
class Tick:
    """A moment that is written on the axis; `x` is in percent."""

    x: float
    text: str


@dataclass(frozen=True)
class Axis:
    """From 0 to `end_ns`, at least 1."""

    end_ns: int

    @classmethod
    def of(cls, run: Result, spans: Sequence[Slice]) -> "Axis":
        """Returns the window's axis; what was recorded while the probes went is on it, too."""
        ends = [one.ended_ns for one in spans if one.ended_ns is not None]
        return cls(max(1, run.window.duration_ns, *ends))

    def place(self, ns: int | None) -> float:
        """Returns in percent where a moment is; None is the end, what was before is the start."""
        at = self.end_ns if ns is None else min(max(ns, 0), self.end_ns)
        return round(100 * at / self.end_ns, 4)

    @property
    def unit(self) -> tuple[int, str]:
        """The unit, in ns and by name, in which a reader gives a range."""
        return next(one for one in _UNITS if self.end_ns >= one[0])

    def ticks(self) -> list[Tick]:
        """Returns round moments, at most TICKS and the start."""
        step = 1
        while self.end_ns > step * _STEPS[-1] * TICKS:
            step *= 10
        step *= next(one for one in _STEPS if self.end_ns <= step * one * TICKS)
        found = range(0, self.end_ns, step)
        # No text is cut off at the right end.
        return [Tick(self.place(at), format_ns(at) if at else "0") for at in found
                if at <= self.end_ns * 0.94]  # fmt: skip
