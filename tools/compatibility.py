"""What ran where, kept as JSON by the matrices and shown as the table in the README."""

import json
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
RECORD = REPOSITORY / "docs/compatibility.json"
README = REPOSITORY / "README.md"
BEGIN, END = (
    "<!-- compatibility: written by make test-matrix and make test-kernels -->",
    "<!-- / -->",
)
COLUMNS = ("hold-times", "wait-times", "long-holds", "writer-starvation")

Row = dict[str, object]


def note(row: Row) -> None:
    """Puts a row in the place of an older one for the same bpftrace, kernel and suite."""
    rows: list[Row] = json.loads(RECORD.read_text()) if RECORD.exists() else []
    same = ("bpftrace", "kernel", "suite")
    rows = [old for old in rows if any(old[name] != row[name] for name in same)]
    rows.append(row)
    rows.sort(key=lambda row: [_number(str(row["bpftrace"])), _number(str(row["kernel"]))])
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(json.dumps(rows, indent=1) + "\n")


def from_selftest(told: dict[str, object], suite: str, kernel: str, known: str) -> Row:
    """`told` is what `selftest --json` printed; `known` says which known answers ran besides."""
    cases = {case["profile"]: case["pass"] for case in told["cases"]}  # type: ignore[attr-defined]
    return {"bpftrace": told["bpftrace"], "kernel": kernel, "suite": suite,
            "profiles": cases, "known_answers": known, "refusal": None}  # fmt: skip


def refused(bpftrace: str, suite: str, kernel: str, sentence: str) -> Row:
    return {"bpftrace": bpftrace, "kernel": kernel, "suite": suite,
            "profiles": {}, "known_answers": None, "refusal": sentence}  # fmt: skip


def table() -> str:
    lines = [
        f"| bpftrace | kernel | {' | '.join(COLUMNS)} | known answers |",
        f"|{' --- |' * (len(COLUMNS) + 3)}",
    ]
    for row in json.loads(RECORD.read_text()):
        profiles = row["profiles"]
        if row["refusal"]:
            cells = [f"exit 3: {row['refusal']}", *[""] * len(COLUMNS)]
        else:
            cells = ["pass" if profiles.get(name) else "**fail**" for name in COLUMNS]
            cells.append(row["known_answers"] or "self-test only")
        lines.append(
            f"| {row['bpftrace']} ({row['suite']}) | {row['kernel']} | {' | '.join(cells)} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Writes the table into the README between its marks."""
    text = README.read_text()
    head, _, rest = text.partition(BEGIN)
    _, mark, tail = rest.partition(END)
    if not mark:
        raise SystemExit(f"{README.name} has no place for the table: {BEGIN}")
    README.write_text(f"{head}{BEGIN}\n{table()}\n{END}{tail}")
    print(table())


def _number(text: str) -> list[int]:
    return [int(part) for part in text.split("-", maxsplit=1)[0].split(".") if part.isdigit()]


if __name__ == "__main__":
    sys.exit(main())
