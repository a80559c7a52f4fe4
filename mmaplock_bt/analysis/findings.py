"""Findings: what a window shows, as sentences, the worst first; by the rules of its template."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from mmaplock_bt.escaping import safe
from mmaplock_bt.result.keeping import kept_by
from mmaplock_bt.result.model import Finding, OutputData, Result, Sure
from mmaplock_bt.result.observe import observe
from mmaplock_bt.result.rows import column
from mmaplock_bt.spec import causes, gates
from mmaplock_bt.spec.findings import HARMS, CalmRule, FindingRule, Party
from mmaplock_bt.units import format_ns, format_value

MOST = 20  # that a result holds
NOBODY = "nobody that could be named"
OPTIONS = {
    "owner": {"pid": "-p", "comm": "--owner-comm", "cgroup": "--cgroup"},
    "actor": {"pid": "--actor-pid", "comm": "--comm", "cgroup": "--actor-cgroup"},
}


def find(result: Result, rules: list[FindingRule], calm: list[CalmRule]) -> list[Finding] | None:
    """Returns the findings of a result, at most MOST; None where there are no rules."""
    if not rules and not calm:
        return None
    found = [one for rule in rules for one in _of_rule(rule, result)]
    hangs = any(one.role == "waits" for one in result.looks)
    if not hangs and not any(one.harm in ("waited", "open") for one in found):
        found += _calm(result, calm)
    found.sort(key=lambda one: (HARMS.index(one.harm), -one.total_ns))
    return found[:MOST]


def _calm(result: Result, rules: list[CalmRule]) -> list[Finding]:
    """The first sentence whose condition holds."""
    for rule in rules:
        figure = _observed(rule.when, result)
        if figure is not None:
            sure: Sure = "exact" if result.loss.complete else "at least"
            says = rule.says.replace("{observed}", figure)
            return [Finding("calm", says, "", "", "", 0, None, 0, None, 0, sure)]
    return []


def _observed(condition: str, result: Result) -> str | None:
    """The figure that a gate's text is about, where it holds; None where it does not."""
    gate = gates.parse(condition, result.declarations)
    seen = observe(gate.metric, result)
    if not seen.is_measured:
        return None
    # Judged by the low end, which the sentence shows.
    if gates.decide(gate.operator, seen.low, seen.low, gate.limit) != "pass":
        return None
    return format_value(int(seen.low or 0), gate.metric.unit or "count")


def _of_rule(rule: FindingRule, result: Result) -> Iterator[Finding]:
    data = result.outputs[rule.of]
    if rule.locks not in (None, result.profile.locks):
        return
    for row in data.rows:
        flat = _flat(row)
        total_ns = column(flat, rule.total) or 0
        share = _permille(total_ns, result.window.duration_ns)
        if total_ns and share >= rule.least_permille and _is_meant(flat, rule):
            yield _finding(flat, rule, result, _sure(rule, result, data), share)


def _flat(row: Any) -> Any:
    """A table's row with its key's columns beside the others; an event counts once."""
    return {**row, **row["key"]} if "key" in row else {"count": 1, **row}


def _is_meant(row: Any, rule: FindingRule) -> bool:
    return all(column(row, name) == value for name, value in rule.where.items()) and not any(
        column(row, name) in values for name, values in rule.but.items()
    )


def _finding(
    row: Any, rule: FindingRule, result: Result, sure: Sure, share_permille: int
) -> Finding:
    total_ns = column(row, rule.total) or 0
    cause = column(row, "cause") or ""
    known = causes.cause(cause)
    victim, culprit = _party(row, rule.victim), _party(row, rule.culprit)
    made = {
        "victim": victim,
        "culprit": culprit,
        "cause": known.plain if known else safe(cause),
        "total": format_ns(total_ns),
        "longest": format_ns(column(row, rule.longest) or 0),
        "often": _often(row, rule),
        "share": _of_window(share_permille),
    }
    says = rule.itself if rule.itself and _is_one_process(row, rule) else rule.says
    kept = f" The worst hold was kept by {why}." if (why := kept_by(row)) else ""
    return Finding(
        harm=rule.harm,
        sentence=says.format(**_shown(row) | made) + kept,
        victim=victim,
        culprit=culprit,
        cause=cause,
        total_ns=total_ns,
        longest_ns=column(row, rule.longest),
        count=column(row, rule.often) or 0,
        period_ns=column(row, "period_ns"),
        share_permille=share_permille,
        sure=sure,
        remedy=_remedy(column(row, "reason"), cause),
        next=_next(row, rule, result),
    )


def _remedy(*names: str | None) -> str:
    """The first that one of the causes has: what kept a holder is nearer than what it did."""
    known = filter(None, (causes.cause(name) for name in names if name))
    return next((one.remedies[0].do for one in known if one.remedies), "")


def _shown(row: Any) -> dict[str, str]:
    """The row's own columns, for sentences that name them."""
    return {
        name: format_value(value, "ns" if name.endswith("_ns") else "count")
        if isinstance(value, int)
        else safe(value)
        for name, value in row.items()
        if not isinstance(value, list | dict)
    }


def _party(row: Any, party: Party | None) -> str:
    """'redis-server[812]', '3 processes named ps' or 'the kernel thread khugepaged'."""
    if party is None:
        return ""
    name = column(row, party.name)
    pid = column(row, party.pid) if party.pid else None
    number = column(row, party.number) if party.number else None
    if name is None and pid is None:
        return NOBODY
    told = safe(name) if name else "a process without a name"
    if party.kind and column(row, party.kind) == "kernel":
        return f"the kernel thread {told}"
    if number is not None and number > 1:
        return f"{number:,} processes named {told}"
    return f"{told}[{pid}]" if pid is not None else told


def _is_one_process(row: Any, rule: FindingRule) -> bool:
    """Whether victim and culprit are the same process, and the only one."""
    sides = (rule.victim, rule.culprit)
    pids = [column(row, side.pid) for side in sides if side is not None and side.pid]
    numbers = [column(row, side.number) for side in sides if side is not None and side.number]
    return len(pids) == 2 and pids[0] == pids[1] is not None and all(n == 1 for n in numbers)


def _often(row: Any, rule: FindingRule) -> str:
    count, (one, several) = column(row, rule.often) or 0, rule.times.split("|")
    rhythm = column(row, "period_ns")
    every = f", every {format_ns(rhythm)}" if rhythm else ""
    return f"{count:,} {one if count == 1 else several}{every}"


def _permille(total_ns: int, of_ns: int) -> int:
    return round(Fraction(1000 * total_ns, of_ns)) if of_ns > 0 else 0


def _of_window(permille: int) -> str:
    if permille < 1:
        return "under 0.1 % of the window"
    if permille < 1000:
        return f"{permille / 10:.{0 if permille >= 100 else 1}f} % of the window"
    return f"{permille / 1000:.1f} times the window: several waited at once"


def _sure(rule: FindingRule, result: Result, data: OutputData) -> Sure:
    """Of a sample: estimated. Where something is missing, it can only be more."""
    if result.profile.sample > 1:
        return "estimated"
    is_part = rule.is_bound or data.lacks or not result.loss.complete or result.books.spinning
    return "at least" if is_part else "exact"


def _next(row: Any, rule: FindingRule, result: Result) -> list[str]:
    """The words of the next command, with the filters that were given; else of this owner."""
    if not rule.run:
        return []
    given = list(_filters(result.profile.filter))
    pid = column(row, "owner_pid")
    command = result.window.command
    is_one = pid and column(row, "owners") in (None, 1)
    own = ["-p", str(pid)] if is_one and not given and command is None else []
    settings = [
        word for name, value in rule.params.items() for word in ("--set", f"{name}={value}")
    ]
    again = ["--", *command.argv] if command is not None else []
    if command is not None and result.profile.tree is False:
        again.insert(0, "--system-wide")
    return ["run", rule.run, *given, *own, *settings, *again]


def _filters(told: dict[str, Any]) -> Iterator[str]:
    """A filter as the options that ask for it."""
    for side, options in OPTIONS.items():
        values = told.get(side) or {}
        for name, option in options.items():
            value = values.get(name)
            for one in value if isinstance(value, list) else [value]:
                if one is not None:
                    yield from (option, str(one))
        if values.get("descendants"):
            yield "--descendants"
    if told.get("mode"):
        yield from ("--mode", str(told["mode"]))
