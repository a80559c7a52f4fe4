"""From rounds to figures: what a lock costs more under a contender, and against the C peer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from bench.contenders import BASE
from bench.record import Record, Row, Turn
from bench.scenarios import SCENARIOS, Scenario


@dataclass(frozen=True)
class Figure:
    """One contender in one scenario. None is unknown: nothing was measured, or the peer was not.

    `added_ns` per operation of the victim, at the CPU's best speed of the run; `ratio` to the C
    peer in the same rounds; `low`, `high`: the least and the most ratio of a round. `noisy`: no
    round was quiet. `refusal`: a sentence.
    """

    what: str
    by: str
    scenario: str
    added_ns: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    rounds: int = 0
    noisy: bool = False
    refusal: str | None = None


def figures(record: Record) -> list[Figure]:
    """Returns those of every row and scenario, in their order."""
    scenarios = [one for one in SCENARIOS if one.name in record.scenarios]
    return [_figure(record, row, scenario) for row in record.rows for scenario in scenarios]


def _figure(record: Record, row: Row, scenario: Scenario) -> Figure:
    turns = [turn for turn in record.turns if turn.name == row.name]
    if not turns:
        sentence = record.refusals.get(row.name, "not measured")
        return Figure(row.what, row.by, scenario.name, refusal=sentence)
    used = trusted(turns)
    ratios = sorted(_ratios(used, _of_base(record, scenario), scenario))
    return Figure(
        row.what, row.by, scenario.name,
        added_ns=median(added(turn, scenario) for turn in used) * speed_ns(record),
        ratio=median(ratios) if ratios else None,
        low=ratios[0] if ratios else None,
        high=ratios[-1] if ratios else None,
        rounds=len(used),
        noisy=bool(used[0].noise),
    )  # fmt: skip


def trusted(turns: Sequence[Turn]) -> list[Turn]:
    """The quiet ones; where there are none, the less restless half."""
    quiet = [turn for turn in turns if not turn.noise]
    return quiet or sorted(turns, key=lambda turn: turn.unrest)[: (len(turns) + 1) // 2]


def added(turn: Turn, scenario: Scenario) -> float:
    """How much longer an operation took, in system calls without a lock (see Sample)."""
    return turn.traced[scenario.name].relative - turn.untraced[scenario.name].relative


def speed_ns(record: Record) -> float:
    """What that system call took at best."""
    return min(one.beside_ns for turn in record.turns for one in turn.untraced.values())


def _of_base(record: Record, scenario: Scenario) -> dict[int, float]:
    """What the C peer added, by round; where it made nothing dearer there is no ratio to it."""
    turns = trusted([turn for turn in record.turns if turn.name == BASE])
    found = {turn.round: added(turn, scenario) for turn in turns}
    return {number: more for number, more in found.items() if more > 0}


def _ratios(turns: Sequence[Turn], base: dict[int, float], scenario: Scenario) -> Iterator[float]:
    """Round by round; a round whose C peer was noisy has the median of the others'."""
    if base:
        usual = median(base.values())
        yield from (added(turn, scenario) / base.get(turn.round, usual) for turn in turns)
