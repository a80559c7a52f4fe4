"""Verdicts, and which locks were followed, in words: the same in every report, as plain text."""

from collections.abc import Sequence

from mmaplock_bt.result.model import Result, Verdict
from mmaplock_bt.units import counted, format_ns

_WITH_WRITERS = (
    "This is a kernel with PREEMPT_RT: every lock was followed, contended or not, and of those who "
    "held one since before the window only writers are named."
)
_WITHOUT_HOLDERS = (
    "This kernel's mmap_lock cannot be read: every lock was followed, a wait met somebody where it "
    "took 10 µs or longer, and who held a lock since before the window is not named."
)

_PREEMPTED = (
    "PREEMPT_RT preempts bpftrace while it reads a stack out of a map: until it goes on, events on "
    "its CPU are missed."
)


def followed(result: Result) -> list[str]:
    """Returns what a reader must know where not every lock was followed; empty where all were.

    And where waits were, and the kernel does not show all who hold a lock, or all events.
    """
    found = []
    facts = result.target.facts
    if facts.get("rwsem_owner") is False and result.books.starts is not None:
        found.append(_WITH_WRITERS if facts.get("rwbase") else _WITHOUT_HOLDERS)
    if facts.get("rwbase") and result.loss.missed_events:
        found.append(_PREEMPTED)
    if result.profile.locks == "contended":
        found.append(
            "Only locks that somebody waited for were followed: a hold counts from its first "
            "waiter on, a wait from when the thread queued. --locks all follows every lock."
        )
    if result.books.spinning:
        found.append(
            f"{counted(result.books.spinning, 'hold')} ended while a writer spun for the lock on a "
            "CPU: its wait, at most as long as the hold, is in no sum."
        )
    if result.target.facts.get("engine"):
        found.append(
            "Traced by tracefs alone: whose an address space is is told where a kernel stack has "
            "shown it, else unknown; there are no user stacks. Of a command its processes' own "
            "locking is meant."
        )
    if result.profile.sample > 1:
        times = "At times only one" if result.cost and result.cost.has_changed else "One"
        found.append(
            f"{times} lock in {result.profile.sample:,} was followed: counts and sums are "
            "estimates (± as given, 19 times in 20), and a longer one may have been passed over."
        )
    return found


def acquisitions(runs: Sequence[Result]) -> str:
    """Writes how often the lock was taken, as far as it was followed: '1,234 acquisitions'."""
    total = sum(run.books.acquires or 0 for run in runs)
    kinds = {run.profile.locks for run in runs}
    return f"{counted(total, 'acquisition')}{' after a wait' if kinds == {'contended'} else ''}"


def told(said: Verdict) -> str:
    """Writes 'fail (warn): observed 3.67 ms, limit < 1.00 ms, 1 sample', and the reason."""
    level = " (warn)" if said.level == "warn" else ""
    return f"{said.outcome}{level}: {explained(said)}"


def explained(said: Verdict) -> str:
    """Writes what was observed, and the reason where there is one."""
    return f"{observed(said)}: {said.reason}" if said.reason else observed(said)


def observed(said: Verdict) -> str:
    """Writes 'observed 3.67 ms–3.93 ms, limit < 5.00 ms, 1,234 samples'."""
    samples = counted(said.samples, "sample")
    return f"observed {interval(said)}, limit {limit(said)}, {samples}"


def limit(said: Verdict) -> str:
    """Writes operator and limit: '< 5.00 ms'."""
    return f"{said.operator} {_value(said, said.limit)}"


def interval(said: Verdict) -> str:
    """Writes the observed interval: '3.67 ms–3.93 ms', '≥ 3.67 ms' or 'nothing'."""
    low, high = said.observed
    if low is None and high is None:
        return "nothing"
    if low == high and low is not None:
        return _value(said, low)
    if low is None or high is None:
        end = high if low is None else low
        return f"{'≤' if low is None else '≥'} {_value(said, end or 0)}"
    return f"{_value(said, low)}–{_value(said, high)}"


def _value(said: Verdict, value: int) -> str:
    if said.unit == "ns":
        return format_ns(value)
    if said.unit == "permille":
        return f"{value / 10:+.1f} %"
    return f"{value:,}{said.unit if said.unit == '/s' else f' {said.unit}'.rstrip()}"
