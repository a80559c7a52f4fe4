"""What stacks weigh in two series, made comparable: per second of their windows, or per run."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from mmaplock_bt.judging.series import Series
from mmaplock_bt.renderers import stack_weights
from mmaplock_bt.renderers.page import flame
from mmaplock_bt.renderers.page.flame import Path
from mmaplock_bt.renderers.page.sheets import Cell, Line, Sheet
from mmaplock_bt.result.model import Result
from mmaplock_bt.units import counted, format_ns

MOST = 200  # rows
STACKS = 20_000
COLUMNS = ("held, base", "held, new", "waited, base", "waited, new")
HEADS = [("Who", False), ("Stack", False), ("Held, base", True), ("Held, new", True),
         ("Change", True), ("Others waited, base", True), ("Others waited, new", True),
         ("Change", True)]  # fmt: skip
Runs = Sequence[Result]


@dataclass(frozen=True)
class Rates:
    """Each stack's ns by COLUMNS, `per` second or run; `said` tells which in a sentence."""

    of: dict[Path, list[int]]
    per: str
    said: str
    lacks: list[str]


def of(base: Runs, new: Runs) -> Rates:
    """Returns the rates of both series. Raises UsageError for a profile that keeps no stacks.

    A command does the same work however long it takes: what it holds is compared run by run. A
    window of some length has the more in it the longer it is.
    """
    is_work = all(run.window.ended_by == "command" for run in (*base, *new))
    found: defaultdict[Path, list[int]] = defaultdict(lambda: [0] * len(COLUMNS))
    lacks: dict[str, None] = {}
    for side, runs in enumerate((base, new)):
        weights = stack_weights.weighed(Series(tuple(runs)))
        lacks |= dict.fromkeys(weights.lacks)
        for stack, weight in weights.of.items():
            row = found[flame.path(stack)]
            row[side] += weight.hold_ns
            row[side + 2] += weight.victim_ns
    scale = (len, len) if is_work else (_length_ns, _length_ns)
    parts = [one(runs) for one, runs in zip(scale, (base, new), strict=True)]
    unit = 1 if is_work else 10**9
    rates = {path: [_rate(ns * unit, parts[turn % 2]) for turn, ns in enumerate(row)]
             for path, row in found.items()}  # fmt: skip
    said = _said(base, new, is_work)
    return Rates(_heaviest(rates, lacks), " per run" if is_work else " per second", said, [*lacks])


def _heaviest(rates: dict[Path, list[int]], lacks: dict[str, None]) -> dict[Path, list[int]]:
    if len(rates) <= STACKS:
        return rates
    lacks[f"Of {len(rates):,} stacks the {STACKS:,} heaviest are in graphs and table."] = None
    ranked = sorted(rates.items(), key=lambda item: max(item[1]), reverse=True)
    return dict(ranked[:STACKS])


def _rate(ns: int, parts: int) -> int:
    """Rounded, a half upwards."""
    return (2 * ns + parts) // (2 * parts)


def _length_ns(runs: Runs) -> int:
    return max(1, sum(run.window.duration_ns for run in runs))


def _said(base: Runs, new: Runs, is_work: bool) -> str:
    if is_work:
        sizes = (counted(len(runs), "run") for runs in (base, new))
        return (
            "Times are per run, as commands ended the windows: sums over {} (base) and {} (new), "
            "divided by how many these are.".format(*sizes)
        )
    lengths = (
        f"{format_ns(_length_ns(runs))} in {counted(len(runs), 'run')}" for runs in (base, new)
    )
    return "Times are per second of the windows, which are {} (base) and {} (new).".format(*lengths)


def sheet(found: Rates) -> Sheet:
    """Returns a table of the stacks, those that differ most first."""
    ranked = sorted(found.of.items(), key=lambda item: -_difference(item[1]))
    lines = [Line([*_names(path), *_pair(row[:2]), *_pair(row[2:])]) for path, row in ranked[:MOST]]
    left = [f"The first {MOST} of {len(ranked):,} rows."] if len(ranked) > MOST else []
    title = f"Stacks, times{found.per}"
    return Sheet("stacks", title, HEADS, lines, left, [])


def _difference(row: list[int]) -> int:
    return max(abs(row[1] - row[0]), abs(row[3] - row[2]))


def _names(path: Path) -> list[Cell]:
    """Who, and the stack from the innermost frame out."""
    (actor, _), *frames = path
    names = tuple(name for name, _ in reversed(frames))
    return [Cell(actor), Cell(names[0], None, names) if names else Cell("-")]


def _pair(row: list[int]) -> list[Cell]:
    base, new = row
    change = flame.change(base, new) if base or new else "-"
    return [Cell(format_ns(base), base), Cell(format_ns(new), new), Cell(change, new - base)]
