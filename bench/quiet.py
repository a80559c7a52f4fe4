"""Whether the machine was quiet while the victim ran untraced: sentences of what disturbed it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DRIFT = 0.08  # between untraced samples that should be equal
PRESSURE = 0.4  # of the time some task had no CPU while one thread of ours ran
TRACERS = frozenset({"bpftrace", "perf", "trace-cmd"})


@dataclass(frozen=True)
class Calm:
    """What untraced samples show. `best`: the run's best; `pressure`: 0 to 1, or None."""

    before: float
    after: float
    best: float
    pressure: float | None
    others: tuple[str, ...] = ()

    @property
    def unrest(self) -> float:
        """How far the worse of both is from the run's best, as a share."""
        return max(self.before, self.after) / self.best - 1


def noise(calm: Calm) -> tuple[str, ...]:
    return tuple(_noise(calm))


def _noise(calm: Calm) -> Iterator[str]:
    if calm.before > calm.best * (1 + DRIFT):
        more = calm.before / calm.best - 1
        yield f"untraced {more:.0%} over the run's best"
    ends = sorted((calm.before, calm.after))
    if ends[1] > ends[0] * (1 + DRIFT):
        yield f"untraced before and after differ by {ends[1] / ends[0] - 1:.0%}"
    if calm.pressure is not None and calm.pressure > PRESSURE:
        yield f"CPU pressure {calm.pressure:.0%}"
    if calm.others:
        yield f"another tracer: {', '.join(calm.others)}"


def tracers(proc: Path = Path("/proc")) -> tuple[str, ...]:
    """Returns the names of programs that trace just now."""
    found = set()
    for comm in proc.glob("[0-9]*/comm"):
        try:
            found.add(comm.read_text(errors="replace").strip())
        except OSError:
            continue  # it has ended
    return tuple(sorted(found & TRACERS))
