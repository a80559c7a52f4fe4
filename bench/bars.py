"""What tracing may cost: the limits that the project has set itself, in the main scenario."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.contenders import BASE, EMPTY, OURS
from bench.figures import Figure
from bench.scenarios import MAIN

OLDEST = "0.17"  # knows no raw tracepoints
WAITING = ("overview", "blame", "convoys", "stuck-locks")
SAMPLED = ("hold-times", "wait-times", "long-holds")


@dataclass(frozen=True)
class Verdict:
    """`found` times what `against` costs; at most `limit`. None: one of both was not measured."""

    what: str
    by: str
    limit: float
    against: str
    found: float | None

    @property
    def is_met(self) -> bool | None:
        return None if self.found is None else self.found <= self.limit


def verdicts(found: Sequence[Figure]) -> list[Verdict]:
    """Returns one for each of our figures that has a limit."""
    return list(_verdicts([one for one in found if one.scenario == MAIN]))


def _verdicts(found: list[Figure]) -> Iterator[Verdict]:
    added = {(one.what, one.by): one.added_ns for one in found}
    for one in found:
        if (bar := _bar(one.what, one.by)) is not None:
            limit, against = bar
            # The C peer has no bpftrace; the empty probes are those of the same one.
            quotient = _quotient(one.added_ns, added.get((against, one.by)))
            times = one.ratio if against == BASE else quotient
            yield Verdict(one.what, one.by, limit, against, times)


def _quotient(part: float | None, of: float | None) -> float | None:
    return None if part is None or of is None or of <= 0 else part / of


def _bar(what: str, by: str) -> tuple[float, str] | None:
    """A limit and what it is a multiple of."""
    if "another's" in what or "nobody" in what:
        return 1.2, EMPTY
    if what == f"{OURS} hold-times":
        return (1.9 if by == OLDEST else 1.25), BASE
    if what in {f"{OURS} {profile} --sample 1/16" for profile in SAMPLED}:
        return 0.95, BASE
    if what in {f"{OURS}, armed trap", *(f"{OURS} {profile}" for profile in WAITING)}:
        return 0.35, BASE
    return None
