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

REPOSITORY = Path(__file__).resolve().parent.parent
RECORD = REPOSITORY / "docs/compatibility.json"
DATA = REPOSITORY / "tests/data"
README = REPOSITORY / "README.md"
BEGIN, END = (
    "<!-- compatibility: written by make test-matrix and make test-kernels -->",
    "<!-- / -->",
)
COLUMNS = ("bpftrace", "kernel", "shipped profiles, self-test", "known answers")
# doctor's check -> from which Linux on it says so, what it says before, what from there on.
DOCTOR = {
    "event fields": ((6, 14), "limited", "ok"),
    "page faults": ((6, 4), "ok", "limited"),
    "user frames": ((6, 17), "limited", "ok"),
}

Row = dict[str, object]
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


def from_selftest(told: dict[str, object], suite: str, kernel: str, known: str | None) -> Row:
    """`told` is what `selftest --json` printed; `known` says which known answers ran besides."""
    cases: list[dict[str, object]] = told["cases"]  # type: ignore[assignment]
    passed = {str(case["profile"]): True for case in cases}
    passed |= {str(case["profile"]): False for case in cases if not case["pass"]}
    for case in cases:
        print(f"{'pass' if case['pass'] else 'FAIL'}  {case['profile']:<18} {case['found']}")
        if not case["pass"]:
            print(f"      {case['books']}\n      {case['loss']}\n      {case['bpftrace_error']}")
    return {"bpftrace": told["bpftrace"], "kernel": kernel, "suite": suite,
            "profiles": passed, "known_answers": known, "refusal": None}  # fmt: skip


def refusal(code: int, said: str, number: str, suite: str, kernel: str) -> Outcome:
    """One that cannot work must say so in a sentence and end with 3."""
    sentence = said.strip().removeprefix("mmaplock-bt: ")
    print(f"exit {code}: {sentence}", flush=True)
    row: Row = {"bpftrace": number, "kernel": kernel, "suite": suite,
                "profiles": {}, "known_answers": None, "refusal": sentence}  # fmt: skip
    return Outcome(row, code == 3 and "\n" not in sentence)


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


def _place(row: Row) -> tuple[object, list[int]]:
    return row["suite"], _number(str(row["kernel"]))[:2]


def table() -> str:
    rows: list[Row] = json.loads(RECORD.read_text())
    lines = [COLUMNS, ("---",) * len(COLUMNS), *map(_cells, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(row: Row) -> tuple[str, ...]:
    machine = f"{row['bpftrace']} ({row['suite']})", str(row["kernel"])
    if row["refusal"]:
        return (*machine, f"exit 3: {row['refusal']}", "")
    return (*machine, _summary(row["profiles"]), str(row["known_answers"] or ""))  # type: ignore[arg-type]


def _summary(profiles: dict[str, bool]) -> str:
    """One cell, however many profiles are shipped; the failed ones by name."""
    failed = [name for name, passed in profiles.items() if not passed]
    text = f"{len(profiles) - len(failed)} of {len(profiles)} pass"
    return f"{text}, **{', '.join(failed)} failed**" if failed else text


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
