"""What ran where: runs the suites of a matrix, keeps the record as JSON, shows it in the README."""

import argparse
import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
RECORD = REPOSITORY / "docs/compatibility.json"
DATA = REPOSITORY / "tests/data"
README = REPOSITORY / "README.md"
BEGIN, END = (
    "<!-- compatibility: written by make test-matrix and make test-kernels -->",
    "<!-- / -->",
)
COLUMNS = ("bpftrace", "kernel", "shipped profiles, self-test", "known answers", "tracefs alone")
# doctor's check -> from which Linux on it says so, what it says before, what from there on.
DOCTOR = {
    "event fields": ((6, 14), "limited", "ok"),
    "page faults": ((6, 4), "ok", "limited"),
    "user frames": ((6, 17), "limited", "ok"),
}

WRAPPED = "wrapped"
# A refusal's own command is for the distribution that the matrix ran on.
COMMAND = re.compile(r"(?<=or newer): .*")

NONE = "none"  # no bpftrace
CANNOT = 3  # the tool's exit code where a machine cannot trace
Row = dict[str, object]
Profiles = dict[str, bool | None]  # None: it did not pass, and told that events were lost
Check = dict[str, str]


class BrokenError(Exception):
    """A suite that brought nothing back that could be judged."""


@dataclass(frozen=True)
class Outcome:
    row: Row | None
    passed: bool


def main(description: str, suites: tuple[str, ...], run: Callable[[str, bool], Outcome]) -> int:
    """The command line of a matrix. `run` gets a suite and whether only to record its streams."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--capture", action="store_true", help="only record tests/data again")
    parser.add_argument("--no-record", action="store_true", help="leave README and docs alone")
    parser.add_argument("suites", nargs="*", default=suites, metavar="SUITE")
    arguments = parser.parse_args()
    failed = []
    for suite in arguments.suites:
        row, passed = _timed(suite, partial(run, suite, arguments.capture))
        failed += [] if passed else [suite]
        if row and not arguments.no_record:
            _note(row)
    if not arguments.no_record:
        _show()
    print(f"{len(arguments.suites) - len(failed)} passed, {len(failed)} failed {' '.join(failed)}")
    return 1 if failed else 0


def _timed(suite: str, run: Callable[[], Outcome]) -> tuple[Row | None, bool]:
    began = time.monotonic()
    row, passed = None, False
    try:
        outcome = run()
        row, passed = outcome.row, outcome.passed
    except (BrokenError, subprocess.SubprocessError) as error:
        print(error)
    verdict = "passed" if passed else "FAILED"
    print(f"== {suite}: {verdict} after {time.monotonic() - began:.0f} s", flush=True)
    return row, passed


def row_of(number: str, kernel: str, suite: str, **told: object) -> Row:
    """With what is `told`: profiles, known_answers, refusal, and tracefs, which is what the engine
    of that name made of the profiles that it serves. It takes no bpftrace: a kernel has it once.
    """
    row: Row = {"bpftrace": number, "kernel": kernel, "suite": suite}
    return row | {"profiles": {}, "known_answers": None, "refusal": None} | told


def passed(code: int, out: str, err: str) -> Profiles:
    """What came of each profile, by what `selftest --json` printed; none where it cannot trace.

    Raises BrokenError for one that went wrong in another way.
    """
    if code == CANNOT:
        print(f"exit {code}: {err.strip()}", flush=True)
        return {}
    if code not in (0, 1):
        raise BrokenError(f"self-test: {err[-2000:]}")
    told = json.loads(out)
    cases: list[dict[str, Any]] = told["cases"]
    print(f"self-test by {told['engine']}:", flush=True)
    for case in cases:
        print(f"{'pass' if case['pass'] else 'FAIL'}  {case['profile']:<18} {case['found']}")
        if not case["pass"]:
            print(f"      {case['books']}\n      {case['loss']}\n      {case['bpftrace_error']}")
    return {case["profile"]: True if case["pass"] else _unless_lost(case["loss"]) for case in cases}


def _unless_lost(loss: dict[str, object]) -> bool | None:
    return None if loss["lost_events"] else False


def is_right(tracefs: Profiles) -> bool:
    """Whether it counted right, or said that it could not: on one emulated CPU the lock's users
    leave it too little of that to read all that they do.
    """
    return True in tracefs.values() and False not in tracefs.values()


def refused(code: int, said: str) -> tuple[str, bool]:
    """What one that cannot work says, and whether it is a sentence and an exit code of 3."""
    sentence = said.strip().removeprefix("mmaplock-bt: ")
    print(f"exit {code}: {sentence}", flush=True)
    return COMMAND.sub("", sentence), code == CANNOT and "\n" not in sentence


def doctor_faults(checks: dict[str, Check], kernel: str) -> Iterator[str]:
    """Where doctor, which looks and tries, says otherwise than the kernel's history."""
    for name, (since, before, after) in DOCTOR.items():
        expected = after if _number(kernel) >= list(since) else before
        if name in checks and checks[name]["state"] != expected:
            yield f"doctor, {name}: {checks[name]['state']} instead of {expected}"


def _note(row: Row) -> None:
    """Puts a row in the place of the older one for the same suite and kernel series."""
    rows: list[Row] = json.loads(RECORD.read_text()) if RECORD.exists() else []
    rows = [old for old in rows if _place(old) != _place(row)] + [row]
    rows.sort(key=lambda row: [_number(str(row["bpftrace"])), _number(str(row["kernel"]))])
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(json.dumps(rows, indent=1) + "\n")


def _place(row: Row) -> tuple[object, ...]:
    """A suite's bpftrace may grow newer; a wrapped one is one release's."""
    is_wrapped = str(row["suite"]).endswith(WRAPPED)
    release = _number(str(row["bpftrace"]))[:2] if is_wrapped else None
    return row["suite"], _number(str(row["kernel"]))[:2], release


def table() -> str:
    rows: list[Row] = json.loads(RECORD.read_text())
    lines = [COLUMNS, ("---",) * len(COLUMNS), *map(_cells, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(row: Row) -> tuple[str, ...]:
    machine = f"{row['bpftrace']} ({row['suite']})", str(row["kernel"])
    tracefs = _summary(row.get("tracefs", {}))  # type: ignore[arg-type]
    if row["refusal"]:
        return (*machine, f"exit {CANNOT}: {row['refusal']}", "", tracefs)
    known = str(row["known_answers"] or "")
    return (*machine, _summary(row["profiles"]), known, tracefs)  # type: ignore[arg-type]


def _summary(profiles: Profiles) -> str:
    """One cell, however many profiles are shipped; the failed ones by name."""
    if not profiles:
        return ""
    by_outcome = {
        outcome: ", ".join(name for name, passed in profiles.items() if passed is outcome)
        for outcome in (False, None)
    }
    parts = [f"{list(profiles.values()).count(True)} of {len(profiles)} pass"]
    parts += [f"**{by_outcome[False]} failed**"] if by_outcome[False] else []
    parts += [f"{by_outcome[None]} lost events"] if by_outcome[None] else []
    return ", ".join(parts)


def _show() -> None:
    """Writes the table into the README between its marks."""
    text = README.read_text()
    head, _, rest = text.partition(BEGIN)
    _, mark, tail = rest.partition(END)
    if not mark:
        raise SystemExit(f"{README.name} has no place for the table: {BEGIN}")
    README.write_text(f"{head}{BEGIN}\n{table()}\n{END}{tail}")
    print(table())


def _number(text: str) -> list[int]:
    return [int(part) for part in re.match(r"[\d.]*", text)[0].split(".") if part]  # type: ignore[index]
