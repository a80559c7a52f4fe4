"""What a window cost, as a sentence; plain text, for each format to escape."""

import re
from collections.abc import Iterator

from mmaplock_bt.escaping import safe
from mmaplock_bt.result.model import Cost, ProbeCost, Result, Step
from mmaplock_bt.units import counted, format_ns

PROBES = 4  # named with their figures: those that took the most
STEPS = 4  # the latest
WORTH_NAMING = 50  # and at least one WORTH_NAMING-th of all programs' time


def told(result: Result) -> str:
    """Writes 'about 1.9 % of the machine: BPF programs 31.0 ms (released 190 ns × 120,000), …'.

    Empty where nothing is known.
    """
    cost = result.cost
    if cost is None:
        return ""
    cpus = counted(result.target.cpus, "CPU")
    tracer = result.target.facts.get("engine") or "bpftrace"
    spent = (
        f"{', '.join(_parts(cost, str(tracer)))} of CPU in {format_ns(cost.duration_ns)} on {cpus}"
    )
    head = f"{share(result)}: " if share(result) else ""
    note = f"; {cost.note}" if cost.note else ""
    return safe(f"{head}{spent}{_rate(cost)}{_limit(cost)}{note}")


def share(result: Result) -> str:
    """Writes 'about 1.9 % of the machine'; empty where that is not known."""
    cost = result.cost
    if cost is None or cost.ppm is None:
        return ""
    return f"{'about ' if is_estimate(cost) else ''}{percent(cost.ppm)} of the machine"


def percent(ppm: int) -> str:
    """Writes millionths as '1.9 %'; at least 'under 0.01 %'."""
    if ppm < 100:
        return "under 0.01 %"
    return f"{ppm / 10**4:,.{max(0, 6 - len(str(ppm)))}f} %"


def is_estimate(cost: Cost) -> bool:
    """Tells whether runs and their times are scaled from a part of the window."""
    return 100 * cost.looked_ns < 98 * cost.duration_ns


def _parts(cost: Cost, tracer: str) -> Iterator[str]:
    if cost.program_ns is not None:
        yield f"BPF programs {format_ns(cost.program_ns)}{_probes(cost)}"
    if cost.entering_ns:
        yield f"entering them about {format_ns(cost.entering_ns)}"
    if cost.bpftrace_ns is not None:
        yield f"{tracer} {format_ns(cost.bpftrace_ns)}"
    yield f"mmaplock-bt {format_ns(cost.own_ns)}"


def _probes(cost: Cost) -> str:
    """The dearest ones; the same few words for each."""
    whole = cost.program_ns or 0
    dear = [one for one in cost.probes if WORTH_NAMING * (one.run_ns or 0) >= whole and one.runs]
    named = sorted(dear, key=lambda one: -(one.run_ns or 0))[:PROBES]
    return f" ({', '.join(_probe(one, cost) for one in named)})" if named else ""


def _probe(one: ProbeCost, cost: Cost) -> str:
    name = re.sub(r"^(?:software:|tracepoint:\w+:|rawtracepoint:)|:\d+$", "", one.probe)
    each = format_ns((one.run_ns or 0) // (one.runs or 1))
    return f"{name.removeprefix('mmap_lock_')} {each} × {_number(one.runs or 0, cost)}"


def _rate(cost: Cost) -> str:
    if cost.events_per_s is None:
        return ""
    return f"; {_number(cost.events_per_s, cost)} events/s"


def _limit(cost: Cost) -> str:
    """What was done to keep the limit; a few of many steps."""
    if cost.limit_ppm is None:
        return ""
    steps = cost.steps[-STEPS:] if cost.steps else [Step(0, 1, None)]
    said = [f"{_one_in(step.sample)} from {format_ns(step.since_ns)} on" for step in steps[1:]]
    first = _one_in(steps[0].sample)
    return f"; at most {percent(cost.limit_ppm)}: {', '.join([first, *said])} followed"


def _one_in(sample: int) -> str:
    return "every lock" if sample == 1 else f"1 lock in {sample:,}"


def _number(value: int, cost: Cost) -> str:
    """An estimate with two significant digits."""
    digits = len(str(value))
    return f"{round(value, 2 - digits) if is_estimate(cost) and digits > 2 else value:,}"
