"""selftest: runs workloads whose lock events are known; pass or fail for each analysis.

By the engine that is asked for; what that does not serve is told, and no failure.
"""

import argparse
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace

from mmaplock_bt import workload
from mmaplock_bt.commands import engines, output
from mmaplock_bt.commands.tracing import trace
from mmaplock_bt.errors import Interrupted, TargetError
from mmaplock_bt.machine import inventory
from mmaplock_bt.result.loss import raced
from mmaplock_bt.result.model import Result
from mmaplock_bt.result.rows import Row
from mmaplock_bt.script.render import render
from mmaplock_bt.spec import profile
from mmaplock_bt.spec.declaration import Locks
from mmaplock_bt.tracing.ending import Options

RACES = 3  # runs of which one must be without


@dataclass(frozen=True)
class Case:
    """A profile, a workload, and a check that says what it found and whether that is right."""

    profile: str
    settings: list[str]
    argv: list[str]
    check: Callable[[Result], tuple[str, bool]]
    writes_only: bool = False
    locks: Locks | None = None
    runs: int = 1  # at most so many, where it is the scheduler's to say whether there is any


@dataclass(frozen=True)
class Found:
    """What a case came to, in words, and in which of its runs."""

    result: Result
    words: str
    right: bool
    run: int


def main(arguments: argparse.Namespace) -> int:
    """Runs every case that the engine serves and prints its outcome, of the others why not.

    Returns 1 where one failed, else 0.
    """
    machine = _machine(arguments)
    unserved = dict(_unserved(machine)) if arguments.engine == inventory.TRACEFS_ENGINE else {}
    served = [case for case in cases() if case.profile not in unserved]
    verdicts = [_verdict(case, machine, told=not arguments.json) for case in served]
    if arguments.json:
        told = {"engine": arguments.engine, "bpftrace": machine.bpftrace}
        output.dump({"schema": 1, **told, "cases": verdicts, "unserved": unserved})
    else:
        for why in unserved.values():
            print(f"skip  {why}", flush=True)
    return 0 if all(verdict["pass"] for verdict in verdicts) else 1


def _machine(arguments: argparse.Namespace) -> inventory.Machine:
    if arguments.engine == inventory.TRACEFS_ENGINE:
        return engines.by_tracefs(engines.ASKED)
    return inventory.probe(arguments.bpftrace)


def _unserved(machine: inventory.Machine) -> Iterator[tuple[str, str]]:
    """The profiles that tracefs cannot tell, each with the reason. bpftrace has to tell all."""
    for case in cases():
        try:
            render(_chosen(case), machine)
        except TargetError as error:
            yield case.profile, error.found


def _verdict(case: Case, machine: inventory.Machine, *, told: bool) -> dict[str, object]:
    found = outcome(case, lambda: _traced(case, machine))
    result = found.result
    verdict = {
        "profile": case.profile,
        "locks": result.profile.locks,
        "pass": found.right,
        "found": found.words,
        "runs": found.run,
        "books": asdict(result.books),
        "loss": asdict(result.loss),
        "bpftrace_error": result.window.failure,
    }
    if told:
        _tell(case, found)
    return verdict


def _traced(case: Case, machine: inventory.Machine) -> Result:
    traced = trace(_chosen(case), machine, Options(command=case.argv, quiet=True))
    if traced.interrupted:
        raise Interrupted(f"interrupted in {case.profile}: the self-test is not over")
    return traced.result


def outcome(case: Case, traced: Callable[[], Result]) -> Found:
    """Returns what the check says of `traced`.

    Another run is for what did not come and for a count that bpftrace itself lost, never for what
    came wrong.
    """
    run, again = 0, True
    while again:
        run += 1
        result = traced()
        words, right = case.check(result)
        intact = result.window.failure is None and sound(result)
        again = (raced(result) and run < RACES) or (intact and not right and run < case.runs)
    return Found(result, words, right and intact, run)


def _tell(case: Case, found: Found) -> None:
    result = found.result
    followed = f"{case.profile} ({result.profile.locks})"
    again = f" in run {found.run}" if found.run > 1 else ""
    line = f"{'pass' if found.right else 'FAIL'}  {followed:<29} {found.words}{again}"
    print(f"{line}; residue {result.books.residue}", flush=True)
    if not found.right:
        end = result.window.failure or "the engine ended well"
        print(f"      {result.books}\n      {result.loss}\n      {end}")


def sound(result: Result) -> bool:
    """Complete but for stacks: 0.17 drops one whose hash is taken, and cases count theirs."""
    loss = result.loss
    missing = loss.lost_events or loss.map_full or loss.unparsed_lines or result.books.residue
    attached = loss.probes_attached == loss.probes_expected
    return loss.complete or (loss.stack_errors > 0 and attached and not missing)


def cases() -> list[Case]:
    """Returns the cases; their workloads make prime numbers of events, hard to hit by chance."""
    return [
        Case("hold-times", [], workload.command("munmaps", 1009), _downgrades),
        Case("wait-times", [], workload.command("munmaps", 1009), _waits),
        # Writes only: before 6.4 page faults take the lock, too often for a slow machine.
        Case(
            "long-holds",
            ["threshold=0", "user_stack=0"],
            workload.command("forks", 23, 64),
            _forks,
            writes_only=True,
        ),
        Case(
            "writer-starvation",
            ["threshold=1ms", "behind=100us"],
            workload.command("smaps", 7, 512),
            _starved,
        ),
        Case("fault-path", [], workload.command("faults", 23, 43), _faults),
        Case("overview", [], workload.command("munmaps", 1009), _overview, locks="all"),
        Case("foreign-holds", ["threshold=0"], workload.command("foreign", 7, 50), _foreign),
        Case("blame", [], workload.command("shares", 7, 512), _blamed),
        Case("convoys", [], workload.command("convoy", 7, 512), _convoys, runs=3),
        Case(
            "stuck-locks",
            ["limit=20ms", "poll=10ms"],
            workload.command("populate", 512, 3),
            _stuck,
            locks="all",
        ),
    ]


def forked(result: Result, kind: str) -> int:
    """Returns how many write holds of fork were on address spaces of an owner kind.

    Their stacks have dup_mmap or, up to 6.12, the function that it is inlined into.
    """
    inside = re.compile(r"dup_mmap" if result.target.facts["dup_mmap"] else r"dup_mm|copy_process")
    return sum(
        row["mode"] == "write"
        and row["owner_kind"] == kind
        and any(inside.match(frame) for frame in row["kernel_stack"] or ())
        for row in result.events("long_holds")
    )


def _downgrades(result: Result) -> tuple[str, bool]:
    found = result.books.downgrades or 0
    return f"{found:,} downgrades for 1,009 munmaps", found >= 1009


def _waits(result: Result) -> tuple[str, bool]:
    waits = sum(row["count"] for row in result.histogram("wait"))
    books = result.books
    expected = (books.acquires or 0) - (books.downgrades or 0)
    return f"{waits:,} waits for {expected:,} acquisitions", waits == expected > 2 * 1009


def _faults(result: Result) -> tuple[str, bool]:
    """With per-VMA locks (6.4) a mapping's first page may need mmap_lock; else each page does."""
    ways = {row["key"]["fault"]: row["count"] for row in result.histogram("fault")}
    own, every = ways.get("own lock", 0), sum(ways.values())
    expected = 23 * 42 if result.target.facts["per_vma_locks"] else 0
    right = every >= 23 * 43 and (own >= expected > 0 or own == expected)
    return f"{own:,} of {every:,} faults under their mapping's own lock for 23 x 43 pages", right


def _forks(result: Result) -> tuple[str, bool]:
    parent, child = forked(result, "process"), forked(result, "fork_child")
    return f"{parent} parent and {child} child holds for 23 forks", parent == child == 23


def _starved(result: Result) -> tuple[str, bool]:
    rows = result.events("starved_writers")
    blamed = [row for row in rows if _is_behind_a_foreign_reader(row)]
    return f"{len(blamed)} of {len(rows)} write waits behind the smaps reader", bool(blamed)


def _is_behind_a_foreign_reader(row: Row) -> bool:
    holds = row["behind"] or ()
    return any(hold["pid"] != row["owner_pid"] and hold["mode"] == "read" for hold in holds)


def _overview(result: Result) -> tuple[str, bool]:
    books, findings = result.books, result.findings or []
    holds = sum(row["count"] for row in result.histogram("hold"))
    ended = (books.releases or 0) + (books.downgrades or 0)
    told = "findings" if any(one.harm == "waited" for one in findings) else "nobody waited"
    found = f"{holds:,} holds for {ended:,} ends of holds, {told}"
    return found, holds == ended > 2 * 1009 and len(findings) > 0


def _foreign(result: Result) -> tuple[str, bool]:
    rows = [r for r in result.table("foreign") if (r["key"]["cause"] or "").startswith("smaps")]
    pairs = sum(row["count"] for row in result.table("pairs"))
    looked_at = sum(row["count"] for row in result.table("foreign"))
    read = sum(row["count"] for row in rows)
    return f"{read} foreign smaps holds for 7 reads", read >= 7 and looked_at == pairs


def _blamed(result: Result) -> tuple[str, bool]:
    rows = result.table("blame")
    charged = sum(row["sum"] or 0 for row in rows)
    ended = sum(row["sum"] or 0 for row in result.table("waited"))
    cut_off = sum(
        row["age_ns"] or 0
        for row in result.events("still_open")
        if row["state"] == "wait" and row["ended"] == "no"
    )
    foreign = [row for row in rows if row["key"]["pid"] not in (None, row["key"]["owner_pid"])]
    right = bool(foreign) and charged == ended + cut_off
    return f"{charged:,} ns charged of {ended + cut_off:,} ns waited, {len(foreign)} actors", right


def _convoys(result: Result) -> tuple[str, bool]:
    rows = result.events("convoys")
    led = [row for row in rows if row["pid"] != row["owner_pid"]]
    return f"{len(led)} of {len(rows)} convoys behind the smaps reader", bool(led)


def _stuck(result: Result) -> tuple[str, bool]:
    seen = [row for row in result.events("stuck") if row["cause"] == "populate"]
    named = [row for row in seen if row["owner_comm"] and row["state"] == "hold"]
    return f"{len(named)} of 3 populates seen while they lasted", len(named) > 0


def _chosen(case: Case) -> profile.Profile:
    chosen = profile.with_params(profile.load(case.profile), case.settings)
    chosen = replace(chosen, locks=case.locks)
    if case.writes_only:
        chosen = replace(chosen, filter=profile.Filter(mode="write"))
    return chosen
