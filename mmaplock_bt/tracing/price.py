"""The price of a window: how long its programs ran, and the CPU time of bpftrace and of this tool.

Statistics on programs read a clock twice in each run. That costs 90 to 115 ns a run (measured on
Linux 6.18 in a virtual machine, where an empty probe costs 120 and one of hold-times 500 to 1,000):
about a tenth of a probe as it is, and more than the leanest ones cost themselves. So they are on
when the window opens, and for a sixteenth of the time from then on, at moments left to chance: work
that repeats itself must not fall between them.
"""

import errno
import math
import os
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction

from mmaplock_bt.result.model import Cost, ProbeCost
from mmaplock_bt.stream.records import Spent
from mmaplock_bt.tracing import bpf_programs
from mmaplock_bt.tracing.bpf_programs import Figures, Programs
from mmaplock_bt.tracing.bpftrace import Tracer

FIRST_NS = 100 * 10**6
PART = 16  # of each period, one PART-th is looked at
PERIOD_NS = (160 * 10**6, 10 * 10**9)  # an eighth of the window's age, but within these
# What an empty program costs beyond its run time, which holds one reading of the clock: on a
# tracepoint 117 ns less 67, on a raw one 58 less 70. Measured where the statistics were.
ENTERING_NS = {"tracepoint": 50}
PPM = 10**6
NO_PROGRAMS = "the tracefs engine runs no programs: what its events cost is not counted"
NOTHING = Figures(0, 0, None)
Counted = Mapping[int, Figures]  # by the id of the program
Pair = tuple[float, float]  # runs, ns


class Estimate:
    """Runs and run times of the whole window, from readings while statistics were on.

    Between two looks it takes the mean of both, behind the last one what that saw.
    """

    def __init__(self) -> None:
        self.looked_ns = 0
        self._until_ns: int | None = None
        self._totals: dict[int, Pair] = {}
        self._rates: dict[int, Pair] = {}  # for each ns, in the latest look

    def add(self, since_ns: int, before: Counted, until_ns: int, now: Counted) -> None:
        """Adds a look: what the kernel had counted at its beginning and at its end."""
        took_ns = max(1, until_ns - since_ns)
        gap_ns = 0 if self._until_ns is None else since_ns - self._until_ns
        for program, figures in now.items():
            old = before.get(program, NOTHING)
            seen = (figures.runs - old.runs, figures.run_ns - old.run_ns)
            rate = (seen[0] / took_ns, seen[1] / took_ns)
            last = self._rates.get(program, rate)
            total = self._totals.get(program, (0.0, 0.0))
            runs, run_ns = (total[i] + seen[i] + gap_ns * (last[i] + rate[i]) / 2 for i in (0, 1))
            self._totals[program], self._rates[program] = (runs, run_ns), rate
        self.looked_ns += took_ns
        self._until_ns = until_ns

    def of(self, program: int, end_ns: int) -> tuple[int, int] | tuple[None, None]:
        """Returns (runs, ns) of a program until the window's end; None where nobody looked."""
        if self._until_ns is None:
            return None, None
        total, rate = self._totals.get(program, (0.0, 0.0)), self._rates.get(program, (0.0, 0.0))
        tail_ns = max(0, end_ns - self._until_ns)
        return round(total[0] + tail_ns * rate[0]), round(total[1] + tail_ns * rate[1])


class Price:
    """A listener that looks at what a window costs; `begin` it when the window is open.

    With `whole`, or where kernel.bpf_stats_enabled is set already, it looks all the time.
    """

    def __init__(
        self, programs: Programs | None = None, *, whole: bool = False, is_bpf: bool = True
    ) -> None:
        self._is_bpf = is_bpf
        self._whole = whole
        self._estimate = Estimate()
        self._programs = programs
        self._first: dict[int, Figures] = {}
        self._statistics: int | None = None
        self._turn_ns: int | None = None  # when statistics are switched next; None: never
        self._note = ""

    def begin(self, tracer: Tracer) -> None:
        """Begins, with a look. What may not be looked at becomes the cost's note."""
        self._begun_ns, self._own_ns = time.monotonic_ns(), time.process_time_ns()
        self._bpftrace_ns = cpu_ns(tracer.pid)
        if not self._is_bpf:
            self._note = NO_PROGRAMS
            return
        try:
            self._programs = self._programs or Programs(tracer.pid)
            self._first = self._programs.figures()
            self._switch_on(FIRST_NS)
        except OSError as error:
            self._give_up(error)

    def look(self, tracer: Tracer, *, last: bool = False) -> Iterator[Spent]:
        """Switches statistics where it is time to; yields what the window cost, if it is `last`."""
        if last:
            yield Spent(self._cost(tracer))
        elif self._turn_ns is not None and time.monotonic_ns() >= self._turn_ns:
            try:
                self._switch()
            except OSError as error:
                self._give_up(error)

    def patience_s(self) -> float:
        """Returns how long it may take, in s, until the next look."""
        if self._turn_ns is None:
            return math.inf
        return max(0.0, (self._turn_ns - time.monotonic_ns()) / 1e9)

    def close(self) -> None:
        """Switches statistics off."""
        if self._statistics is not None:
            os.close(self._statistics)
            self._statistics = None

    def _switch(self) -> None:
        period_ns = _period_ns(time.monotonic_ns() - self._begun_ns)
        if self._statistics is None:
            self._switch_on(period_ns // PART)
        else:
            self._switch_off()
            self._turn_ns = time.monotonic_ns() + int(random.uniform(0.5, 1.5) * period_ns)

    def _switch_on(self, for_ns: int) -> None:
        assert self._programs is not None
        self._statistics = bpf_programs.switch_statistics_on()
        self._since_ns, self._since = time.monotonic_ns(), self._programs.figures()
        always = self._whole or bpf_programs.are_statistics_on()
        self._turn_ns = None if always else self._since_ns + for_ns

    def _switch_off(self) -> None:
        if self._statistics is not None and self._programs is not None:
            now_ns, now = time.monotonic_ns(), self._programs.figures()
            self._estimate.add(self._since_ns, self._since, now_ns, now)
        self.close()

    def _give_up(self, error: OSError) -> None:
        self.close()
        self._turn_ns = None
        self._note = _why_not(error)

    def _cost(self, tracer: Tracer) -> Cost:
        end_ns, bpftrace_ns = time.monotonic_ns(), cpu_ns(tracer.pid)
        own_ns = time.process_time_ns() - self._own_ns
        probes: list[ProbeCost] = []
        try:
            self._switch_off()
            probes = list(self._probes(end_ns, tracer.script.text))
        except OSError as error:
            self._give_up(error)
        duration_ns = max(1, end_ns - self._begun_ns)
        bare = Cost(
            duration_ns=duration_ns,
            looked_ns=min(self._estimate.looked_ns, duration_ns),
            ppm=None,
            events_per_s=None,
            entering_ns=None,
            bpftrace_ns=_difference(bpftrace_ns, self._bpftrace_ns),
            own_ns=own_ns,
            starting_ns=self._bpftrace_ns,
            probes=probes,
            note=self._note,
        )
        return summed(bare, tracer.machine.cpus)

    def _probes(self, end_ns: int, script: str) -> Iterator[ProbeCost]:
        """Of each probe; a program whose probe is not found is left out where it did not run."""
        if self._programs is None:
            return
        names = self._programs.probes(script)
        for program, now in sorted(self._programs.figures().items()):
            runs, run_ns = self._estimate.of(program, end_ns)
            missed = _difference(now.missed, self._first.get(program, NOTHING).missed)
            if program in names or runs or missed:
                name = names.get(program, f"program {program}")
                yield ProbeCost(name, runs, run_ns, missed)


def summed(cost: Cost, cpus: int) -> Cost:
    """Returns the cost with what follows from its parts: entering, events a second, the share."""
    runs = [one for one in cost.probes if one.runs is not None]
    if not runs or not cost.duration_ns:
        return cost
    if cost.program_ns is None or cost.bpftrace_ns is None:
        return cost
    entering_ns = sum((one.runs or 0) * _entering_ns(one.probe) for one in runs)
    events = sum(one.runs or 0 for one in runs)
    spent_ns = cost.program_ns + entering_ns + cost.bpftrace_ns + cost.own_ns
    return replace(
        cost,
        entering_ns=entering_ns,
        events_per_s=round(Fraction(events * 10**9, cost.duration_ns)),
        ppm=round(Fraction(spent_ns * PPM, cost.duration_ns * cpus)),
    )


def cpu_ns(pid: int) -> int | None:
    """Returns the CPU time of a process and its threads, of ended ones too; None: it is gone."""
    try:
        # The kernel's name for another process's clock (CPUCLOCK_SCHED, posix-timers_types.h).
        return time.clock_gettime_ns((~pid << 3) | 2)
    except OSError:
        return None


def _period_ns(age_ns: int) -> int:
    return min(max(PERIOD_NS[0], age_ns // 8), PERIOD_NS[1])


def _entering_ns(probe: str) -> int:
    return ENTERING_NS.get(probe.partition(":")[0], 0)


def _difference(now: int | None, before: int | None) -> int | None:
    return None if now is None or before is None else now - before


def _why_not(error: OSError) -> str:
    if error.errno in (errno.EPERM, errno.EACCES):
        return (
            "the kernel's statistics on BPF programs may not be switched on or read "
            "(CAP_SYS_ADMIN): for how long programs ran is not known"
        )
    return f"bpftrace's programs cannot be looked at: {error.strerror}"
