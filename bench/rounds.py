"""The rounds: every contender takes its turn in each, with the victim untraced before and after."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError

from bench import quiet
from bench.contenders import Contender
from bench.record import Sample, Turn
from bench.scenarios import MAIN, Scenario
from bench.tracer import Places, RefusedError, Tracer
from mmaplock_bt.machine import cpu_pressure

VICTIM_S = 60
MS = 150  # that a scenario takes


@dataclass
class Bench:
    """Runs rounds; `turns` and `refusals` fill meanwhile."""

    scenarios: Sequence[Scenario]
    places: Places
    missing: dict[str, str]
    say: Callable[[str], None]
    turns: list[Turn] = field(default_factory=list)
    refusals: dict[str, str] = field(default_factory=dict)
    untraced: list[float] = field(default_factory=list)  # what the main scenario took
    patience: int = 3  # times that a noisy turn is tried

    def run(self, contenders: Sequence[Contender], rounds: int) -> None:
        """Every other round backwards: what drifts does not fall upon the same ones.

        Interrupted, it keeps the whole rounds; raises KeyboardInterrupt where there is none.
        """
        whole = 0
        try:
            for number in range(1, rounds + 1):
                for contender in contenders[:: 1 if number % 2 else -1]:
                    self._take(number, contender)
                whole = number
        except KeyboardInterrupt:
            if not whole:
                raise
            self.say(f"interrupted: {whole} whole rounds of {rounds} are kept")
        self._keep(whole)

    def _keep(self, whole: int) -> None:
        """Drops a part of a round, and refusals of what traced another time."""
        self.turns = [turn for turn in self.turns if turn.round <= whole]
        traced = {turn.name for turn in self.turns}
        self.refusals = {name: said for name, said in self.refusals.items() if name not in traced}

    def _take(self, number: int, contender: Contender) -> None:
        try:
            turn = self._patiently(number, contender)
        except RefusedError as error:
            self.refusals[contender.name] = str(error)
            self.say(f"{number} {contender.name}: {error}")
            return
        self.turns.append(turn)
        times = turn.traced[MAIN].relative / turn.untraced[MAIN].relative
        self.say(f"{number} {contender.name}: {times:.2f} times {'; '.join(turn.noise)}")

    def _patiently(self, number: int, contender: Contender) -> Turn:
        """The first quiet one, else the least restless."""
        tried: list[Turn] = []
        while len(tried) < self.patience and not (tried and not tried[-1].noise):
            tried.append(self._turn(number, contender))
        best = min(tried, key=lambda turn: (bool(turn.noise), turn.unrest))
        return best.model_copy(update={"attempts": len(tried)})

    def _turn(self, number: int, contender: Contender) -> Turn:
        others, waited_ns, began_ns = quiet.tracers(), cpu_pressure.waited_ns(), time.monotonic_ns()
        before = self._sample(self.scenarios[0])
        pressure = _share(cpu_pressure.since(waited_ns), time.monotonic_ns() - began_ns)
        untraced = {MAIN: before, **dict(self._samples(self.scenarios[1:]))}
        with Tracer(contender, self.places, self.missing) as tracer:
            traced = dict(self._samples(self.scenarios))
            tracer.check()
        after = self._sample(self.scenarios[0])
        self.untraced += [before.relative, after.relative]
        calm = quiet.Calm(before.relative, after.relative, self._best(), pressure, others)
        return Turn(round=number, name=contender.name, untraced=untraced, traced=traced,
                    noise=quiet.noise(calm), unrest=calm.unrest)  # fmt: skip

    def _best(self) -> float:
        """The run's best tenth: one freak that is better makes not all others noisy."""
        return sorted(self.untraced)[len(self.untraced) // 10]

    def _samples(self, scenarios: Sequence[Scenario]) -> Iterator[tuple[str, Sample]]:
        for scenario in scenarios:
            yield scenario.name, self._sample(scenario)

    def _sample(self, scenario: Scenario) -> Sample:
        work = ["price", scenario.operation, scenario.threads, MS]
        words = [*_pinned(scenario), *self.places["victim"], *work]
        try:
            done = subprocess.run(
                list(map(str, words)), capture_output=True, text=True, check=True, timeout=VICTIM_S
            )
            return Sample.model_validate_json(done.stdout)
        except (subprocess.SubprocessError, ValidationError) as error:
            what = f"the victim did not do its work ({scenario.name}, {type(error).__name__})"
            raise RefusedError(what) from None


def _pinned(scenario: Scenario) -> list[str]:
    if scenario.cpu is None:
        return []
    return ["taskset", "-c", str(sorted(os.sched_getaffinity(0))[scenario.cpu])]


def _share(waited_ns: int | None, of_ns: int) -> float | None:
    return None if waited_ns is None else waited_ns / of_ns
