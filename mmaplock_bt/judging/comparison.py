"""Compares two series of runs: the change of each metric, how sure it is, whether it is allowed."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from mmaplock_bt.errors import Inconclusive
from mmaplock_bt.judging import measures, significance, verdicts
from mmaplock_bt.judging.comparability import KINDS, NOTED, differences, other_buckets
from mmaplock_bt.judging.series import Series
from mmaplock_bt.result.model import Outcome, Result, Verdict
from mmaplock_bt.result.observe import Reading
from mmaplock_bt.spec.gates import Metric
from mmaplock_bt.spec.tolerances import Condition, Tolerance
from mmaplock_bt.units import counted, format_value

BUSIER = 0.05  # further share of the window in which some task waited for a CPU


@dataclass(frozen=True)
class Rules:
    """What makes a change worth showing: its probability, size, and number of runs.

    The tolerance's floor is in ns and applies to times only. With `needs_witness` the quietest runs
    must show the change as well: noise adds time, and may have met one of the two series alone.
    """

    alpha: float = 0.05
    min_runs: int = 6
    tolerance: Tolerance = field(default_factory=Tolerance)
    needs_witness: bool = True


@dataclass(frozen=True)
class Change:
    """The change of one metric; `base` and `new` are the runs' medians, in its unit.

    `change` and `interval` are relative (0.1 is +10 %), None where the base is 0 or unknown.
    `quietest` is the smallest run of each series, None where none is needed. `p` is corrected for
    the number of metrics compared. `is_shown` where the change is neither chance nor within the
    tolerance; `reason` says why nothing can be concluded.
    """

    metric: Metric
    base: float | None
    new: float | None
    runs: tuple[int, int]
    change: float | None = None
    interval: tuple[float, float] | None = None
    quietest: tuple[float, float] | None = None
    p: float | None = None
    is_shown: bool = False
    reason: str = ""

    def exceeds(self, tolerance: Tolerance) -> bool:
        """Tells whether the medians, and the quietest runs where needed, exceed a tolerance."""
        if self.base is None or self.new is None:
            return False
        pairs = [(self.base, self.new), *([self.quietest] if self.quietest else [])]
        return all(tolerance.is_exceeded(base, new) for base, new in pairs)


@dataclass(frozen=True)
class Comparison:
    """Two series and their changes; `verdicts` are --fail-on's, `notes` say what differs."""

    base: tuple[Result, ...]
    new: tuple[Result, ...]
    changes: tuple[Change, ...]
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...] = ()

    @property
    def series(self) -> Series:
        """The new runs with the verdicts, for formats that show no comparison."""
        return Series(self.new, self.verdicts)


def compare(
    base: Sequence[Result],
    new: Sequence[Result],
    rules: Rules,
    conditions: Sequence[Condition] = (),
    *,
    allow_different: bool = False,
) -> Comparison:
    """Compares the new runs with the base, and judges the change by conditions.

    Raises Inconclusive, with every reason, for runs that are not comparable.
    """
    both = [*base, *new]
    different = list(dict.fromkeys([*differences(both, KINDS), *other_buckets(both)]))
    if different and not allow_different:
        raise Inconclusive(
            f"these results cannot be compared: {'; '.join(different)} "
            "(--allow-different compares them all the same)"
        )
    notes = [*different, *dict.fromkeys(differences(both, NOTED))]
    sound = (_sound(base, "base", notes), _sound(new, "new", notes))
    if busier := _busier(*sound, rules):
        notes.append(busier)
    rules = replace(rules, needs_witness=not _in_turn(*sound))
    either = [(metric, 0) for metric in measures.metrics_of([*sound[0], *sound[1]])]
    changes = _changes(either, *sound, rules)
    worse = [(condition.metric, condition.tolerance.sign) for condition in conditions]
    judged = _changes(worse, *sound, rules)
    said = [_verdict(*pair, rules) for pair in zip(conditions, judged, strict=True)]
    return Comparison(tuple(base), tuple(new), tuple(changes), tuple(said), tuple(notes))


def _sound(runs: Sequence[Result], name: str, notes: list[str]) -> list[Result]:
    """The complete runs; adds a note about the others."""
    faults = [verdicts.faults(run) for run in runs]
    lost = [fault for fault in faults if fault]
    if lost:
        notes.append(f"{len(lost)} of {counted(len(runs), f'{name} run')} left out: {lost[0]}")
    return [run for run, fault in zip(runs, faults, strict=True) if not fault]


def _changes(
    wanted: Sequence[tuple[Metric, int]],
    base: Sequence[Result],
    new: Sequence[Result],
    rules: Rules,
) -> list[Change]:
    """Tested as one family: the more metrics are compared, the surer each must be.

    The sign is the direction that is tested: more (1), less (-1) or either (0).
    """
    found = [
        _change(metric, _values(metric, base), _values(metric, new), rules, sign)
        for metric, sign in wanted
    ]
    return _corrected(found, rules)


def _in_turn(base: Sequence[Result], new: Sequence[Result]) -> bool:
    """Whether the two series' runs alternated, so that noise met both."""
    made = [(run.window.start, index) for index, runs in enumerate((base, new)) for run in runs]
    order = [index for _, index in sorted(made)]
    changes = sum(one != other for one, other in itertools.pairwise(order))
    return changes >= min(len(base), len(new)) > 1


def _values(metric: Metric, runs: Sequence[Result]) -> list[float]:
    """One number for each run that measured the metric and saw a sample: the interval's middle."""
    whole = [run for run in runs if not verdicts.missing_stacks(metric, run)]
    seen = measures.readings(metric, whole)
    return [_middle(each) for each in seen if each.is_measured and each.samples]


def _middle(seen: Reading) -> float:
    ends = [float(end) for end in (seen.low, seen.high) if end is not None]
    return sum(ends) / len(ends)


def _change(metric: Metric, base: list[float], new: list[float], rules: Rules, sign: int) -> Change:
    runs = (len(base), len(new))
    medians = (median(base) if base else None, median(new) if new else None)
    if min(runs) < rules.min_runs:
        reason = f"{counted(min(runs), 'run')}, fewer than {rules.min_runs}"
        return Change(metric, *medians, runs, reason=reason)
    relative = None if not medians[0] else (medians[1] or 0) / medians[0] - 1
    return Change(
        metric,
        *medians,
        runs,
        relative,
        interval=significance.interval(base, new),
        quietest=(min(base), min(new)) if rules.needs_witness else None,
        p=significance.chance(base, new, sign),
    )


def _corrected(changes: list[Change], rules: Rules) -> list[Change]:
    """The changes with p corrected for all, and whether each is shown."""
    tested = [change for change in changes if change.p is not None]
    chances = iter(significance.holm([change.p or 0.0 for change in tested]))
    return [
        change if change.p is None else _judged(replace(change, p=next(chances)), rules)
        for change in changes
    ]


def _judged(change: Change, rules: Rules) -> Change:
    if change.p is None or change.p > rules.alpha:
        return change
    floor = rules.tolerance.floor if change.metric.unit == "ns" else 0
    both = (replace(rules.tolerance, floor=floor, sign=sign) for sign in (1, -1))
    return replace(change, is_shown=any(map(change.exceeds, both)))


def _busier(base: Sequence[Result], new: Sequence[Result], rules: Rules) -> str:
    """A note where the machine was short of CPU for more of the new runs' time, else ''."""
    shares = [[float(share) for run in runs if (share := run.window.cpu_wait_share) is not None]
              for runs in (base, new)]  # fmt: skip
    if min(map(len, shares)) < rules.min_runs:
        return ""
    before, after = map(median, shares)
    if after - before < BUSIER or significance.chance(shares[0], shares[1], 1) > rules.alpha:
        return ""
    return (
        f"the machine was short of CPU for {before:.0%} of the base runs' time, {after:.0%} of the "
        "new ones': a change may be the machine's"
    )


def _verdict(condition: Condition, change: Change, rules: Rules) -> Verdict:
    """Fails only a change that is beyond the tolerance and not chance."""
    outcome: Outcome = "pass"
    if change.p is None:
        outcome = "inconclusive"
    elif change.p <= rules.alpha and change.exceeds(condition.tolerance):
        outcome = "fail"
    ends = change.interval or (change.change, change.change)
    return Verdict(
        gate=condition.text,
        level="error",
        outcome=outcome,
        observed=[None if end is None else round(end * 1000) for end in ends],
        operator="<=" if condition.tolerance.sign > 0 else ">=",
        limit=round(condition.tolerance.sign * condition.tolerance.relative * 1000),
        unit="permille",
        samples=min(change.runs),
        min_samples=rules.min_runs,
        reason=change.reason or _medians(change),
    )


def _medians(change: Change) -> str:
    unit = change.metric.unit or "count"
    base, new = (
        "nothing" if value is None else format_value(round(value), unit)
        for value in (change.base, change.new)
    )
    chance = "not measured" if change.p is None else f"p {change.p:.2g}"
    witness = ""
    if change.quietest is not None:
        least = (format_value(round(value), unit) for value in change.quietest)
        witness = f", quietest {' -> '.join(least)}"
    return f"median {base} -> {new}{witness}, {chance}"
