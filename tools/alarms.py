"""How often `compare` is wrong here: the same build against itself, and against a slower one.

    python tools/alarms.py [--pairs 20] [--runs 10] [--keep DIR]

Each pair is three series, made one after the other at the default settings: a workload that forks,
the same once more, and one with 1.5 times the memory to copy. With --keep DIR the series that are
there already are only compared again.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from mmaplock_bt import command_line, workload
from mmaplock_bt.commands import compare
from mmaplock_bt.judging.comparison import Comparison

SIZES_MIB = {"base": 64, "same": 64, "slow": 96}
FORKS = 97
GATE = "hold{mode=write}.p90:+10%"


def main() -> int:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(arguments.keep or temporary)
        alarms, shown, found = 0, 0, 0
        for pair in range(1, arguments.pairs + 1):
            base, same, slow = (_series(folder / f"{pair:02}" / name, name, arguments.runs)
                                for name in SIZES_MIB)  # fmt: skip
            against = [_compared(base, other) for other in (same, slow)]
            alarms += against[0].verdicts[0].outcome == "fail"
            shown += any(change.is_shown for change in against[0].changes)
            found += against[1].verdicts[0].outcome == "fail"
            print(f"{pair:>3}  same: {_told(against[0])}   slow: {_told(against[1])}", flush=True)
    print(
        f"{arguments.pairs} pairs of {arguments.runs} runs, {GATE}: {alarms} false alarms "
        f"({shown} with a change shown), {found} of {arguments.pairs} slower builds found"
    )
    return 0 if alarms <= 1 and found >= arguments.pairs - 1 else 1


def _series(folder: Path, name: str, runs: int) -> str:
    if not folder.exists():
        argv = workload.command("forks", FORKS, SIZES_MIB[name])
        words = ["run", "hold-times", "-q", "--format", "none", "--repeat", str(runs)]
        tool = [sys.executable, "-m", "mmaplock_bt", *words, "-o", f"{folder}/", "--", *argv]
        subprocess.run(tool, check=True, capture_output=True)
    return str(folder)


def _compared(base: str, new: str) -> Comparison:
    """As the command line's defaults have it."""
    return compare.made(command_line.parse(["compare", base, new, "--fail-on", GATE]))


def _told(made: Comparison) -> str:
    (said,) = made.verdicts
    low, high = said.observed
    changes = sum(change.is_shown for change in made.changes)
    busier = " (busier)" if any("short of CPU" in note for note in made.notes) else ""
    return f"{said.outcome:<12} {low or 0:>5} to {high or 0:>5} permille, {changes} shown{busier}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--keep")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
