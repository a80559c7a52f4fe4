"""Keeps tracing within a share of the machine: fewer locks are followed, or none at all.

A script that may sample reads in a map how many locks one is followed of. So two looks, at every
lock and at hardly any, tell what the choice is worth under the load that is there, and a choice can
be changed while the window is open.
"""

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace

from mmaplock_bt.errors import TargetError
from mmaplock_bt.result.model import Cost, Step
from mmaplock_bt.stream import records
from mmaplock_bt.stream.records import Followed
from mmaplock_bt.tracing import bpf_maps
from mmaplock_bt.tracing.bpf_programs import Programs
from mmaplock_bt.tracing.bpftrace import Tracer
from mmaplock_bt.tracing.price import Price

MAP = "every"  # the script's, with the one key 0
RAREST = 1024
TRIAL = 32  # by so much fewer are followed in the second look: enough to tell, and no more errors
FIRST_NS = 500 * 10**6  # each of the two looks before anything else begins
AGAIN_NS, EACH_NS = 100 * 10**6, 2 * 10**9  # later ones: how long, and how often
SOON_NS = 300 * 10**6  # the one after a change
PATIENCE = 3  # too dear in so many looks in a row, and nothing left to step back to
EXCEEDED = (
    "the window ended early: it took more than its limit, and no fewer locks could be followed"
)
MEND = "narrow the filter (-p, --cgroup), take a cheaper profile, or raise --max-overhead"


class _Look:
    """Tells what tracing costs for some time; statistics are on meanwhile."""

    def __init__(self, tracer: Tracer, programs: Programs, for_ns: int) -> None:
        self._tracer = tracer
        self._price = Price(programs, whole=True)
        self._price.begin(tracer)
        self._until_ns = time.monotonic_ns() + for_ns

    def cost(self) -> Cost | None:
        """What it saw; None while it goes on."""
        if time.monotonic_ns() < self._until_ns:
            return None
        (spent,) = self._price.look(self._tracer, last=True)
        return spent.cost

    def close(self) -> None:
        self._price.close()


class Overhead:
    """A window's limit in millionths of the machine's CPU time; None: it may take what it likes.

    `sample` is what the script begins with. `say` prints a sentence for the user. `steps` are the
    choices made; `is_exceeded` says that the window has to end. `opened_ns` is when it was opened,
    by bpftrace's nsecs.
    """

    def __init__(self, limit_ppm: int | None, sample: int, say: Callable[[str], None]) -> None:
        self.limit_ppm = limit_ppm
        self.steps: list[Step] = []
        self.is_exceeded = False
        self.opened_ns = 0
        self._say = say
        self._sample = records.power_of_two(sample)
        self._every: bpf_maps.Map | None = None
        self._look: _Look | None = None
        self._next_ns = 0
        self._dear = 0
        self._told = 0  # so many of the steps

    def settle(self, tracer: Tracer) -> Generator[None, None, None]:
        """Looks and chooses; yields while it looks, so that bpftrace's lines can be read.

        Raises TargetError where no choice keeps the limit, or nothing can be told.
        """
        if self.limit_ppm is None:
            return
        self._programs, self._every = Programs(tracer.pid), _map_of(tracer)
        self.steps.append(Step(0, self._sample, None))
        full = yield from self._seen(tracer)
        less, before = None, self._sample
        if _share(full) > self.limit_ppm and self._every is not None:
            self._follow(TRIAL * before, full.ppm)
            less = yield from self._seen(tracer)
        sample = chosen(self.limit_ppm, before, full, less)
        if sample is None:
            raise _refusal(self.limit_ppm, full, less)
        self._step(sample, full)

    def watch(self, tracer: Tracer) -> None:
        """Looks now and then while the window is open; follows fewer locks where it is too dear."""
        if self.limit_ppm is None or self.is_exceeded:
            return
        if self._look is None and time.monotonic_ns() >= self._next_ns:
            self._look = _Look(tracer, self._programs, AGAIN_NS)
        cost = self._look.cost() if self._look else None
        if cost is not None:
            self.close_look()
            known = len(self.steps)
            self._judge(cost, self.limit_ppm)
            wait_ns = SOON_NS if len(self.steps) > known else EACH_NS
            self._next_ns = time.monotonic_ns() + wait_ns

    def news(self) -> Iterator[Followed]:
        """Yields the choices that were made since it was asked last."""
        for step in self.steps[self._told :]:
            self._told += 1
            yield Followed(step.since_ns, step.sample, step.ppm)

    def noted(self, cost: Cost) -> Cost:
        """Returns the window's cost with the limit and what was done for it."""
        note = cost.note or (EXCEEDED if self.is_exceeded else "")
        return replace(cost, limit_ppm=self.limit_ppm, steps=list(self.steps), note=note)

    def close_look(self) -> None:
        """Ends a look that is under way."""
        if self._look is not None:
            self._look.close()
            self._look = None

    def close(self) -> None:
        """Ends a look that is under way, and closes the map."""
        self.close_look()
        if self._every is not None:
            bpf_maps.close({MAP: self._every})
            self._every = None

    def _seen(self, tracer: Tracer) -> Generator[None, None, Cost]:
        self._look = _Look(tracer, self._programs, FIRST_NS)
        while (cost := self._look.cost()) is None:
            yield
        self.close_look()
        return cost

    def _judge(self, cost: Cost, limit_ppm: int) -> None:
        if cost.ppm is None or cost.ppm <= limit_ppm:
            self._dear = 0
        elif self._every is not None and self._sample < RAREST:
            self._step(_fewer(self._sample, cost.ppm, limit_ppm), cost)
        else:
            self._dear += 1
            self.is_exceeded = self._dear >= PATIENCE
            if self.is_exceeded:
                self._say(f"tracing takes {_percent(cost.ppm)} of the machine: the window ends")

    def _step(self, sample: int, cost: Cost) -> None:
        """Chooses, and says so where not every lock is followed from now on."""
        if sample != self._sample or not self.steps:
            self._follow(sample, cost.ppm)
        if sample > 1 and cost.ppm is not None:
            told = f"tracing took {_percent(cost.ppm)} of the machine"
            self._say(f"{told}: from now on 1 lock in {sample:,} is followed")

    def _follow(self, sample: int, ppm: int | None) -> None:
        """Raises OSError where the script's map cannot be written."""
        before, self._sample = self._sample, sample
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)  # bpftrace's nsecs since 0.12
        self.steps.append(Step(max(0, now_ns - self.opened_ns), sample, ppm))
        if self._every is not None:
            self._every.put((0,), records.every(now_ns, before, sample))


def chosen(limit_ppm: int, sample: int, full: Cost, less: Cost | None) -> int | None:
    """Returns of how many locks one may be followed; None: of none, the limit is too low.

    `full` is what one lock in `sample` costs, `less` a TRIAL-th of these.
    """
    if _share(full) <= limit_ppm:
        return sample
    if less is None:
        return None
    always, followed = _parts(full, less)
    fewer = 1
    while sample * fewer < RAREST:
        fewer *= 2
        if always + followed / fewer <= limit_ppm:
            return sample * fewer
    return None


def _parts(full: Cost, less: Cost) -> tuple[float, float]:
    """What is paid always, and what those add that are followed, in ppm.

    The load may differ from look to look: of the programs, the higher one is reckoned with.
    """
    load = max(full.events_per_s or 0, less.events_per_s or 0) or 1
    always = followed = 0.0
    for whole, rest in (
        (_processes(full), _processes(less)),
        (_programs(full, load), _programs(less, load)),
    ):
        more = max(0.0, whole - rest) / (1 - 1 / TRIAL)
        always, followed = always + max(0.0, whole - more), followed + more
    return always, followed


def _processes(cost: Cost) -> float:
    """The share of bpftrace and of this tool, in ppm."""
    processes_ns = (cost.bpftrace_ns or 0) + cost.own_ns
    spent_ns = (cost.program_ns or 0) + (cost.entering_ns or 0) + processes_ns
    return _share(cost) * processes_ns / max(1, spent_ns)


def _programs(cost: Cost, load: float) -> float:
    """The share of the programs under this load (events a second), in ppm."""
    return (_share(cost) - _processes(cost)) * load / (cost.events_per_s or load)


def _fewer(sample: int, ppm: int, limit_ppm: int) -> int:
    """Twice as rare as often as it takes if all of the cost were that of followed locks."""
    while ppm > limit_ppm and sample < RAREST:
        sample, ppm = sample * 2, ppm // 2
    return sample


def _share(cost: Cost) -> int:
    if cost.ppm is None:
        found = f"what tracing costs cannot be told: {cost.note}"
        raise TargetError(found, "leave --max-overhead out")
    return cost.ppm


def _refusal(limit_ppm: int, full: Cost, less: Cost | None) -> TargetError:
    least = "this profile cannot follow a sample"
    if less is not None:
        always, followed = _parts(full, less)
        least = f"and {_percent(always + followed / RAREST)} if hardly any lock is followed"
    found = (
        f"tracing would take {_percent(_share(full))} of the machine's CPU time, {least}: more "
        f"than the {_percent(limit_ppm)} of --max-overhead"
    )
    return TargetError(found, MEND)


def _percent(ppm: float) -> str:
    return f"{ppm / 10**4:.3g} %"


def _map_of(tracer: Tracer) -> bpf_maps.Map | None:
    """The script's map of the choice; None where it has none. Raises BpftraceError."""
    found = bpf_maps.of_process(tracer.pid)
    every = found.pop(MAP, None)
    bpf_maps.close(found)
    return every
