"""What tracing costs: one read lock (three events), untraced and under each shipped profile.

python tools/overhead.py [ROUNDS]: the profiles take turns; the fastest of the rounds counts, as ns
more per lock and as a ratio to hold-times in the same run. Other machines have other figures.
"""

import json
import re
import subprocess
import sys

from mmaplock_bt import resources, workload

COUNT = 100_000


def main(rounds: int) -> None:
    names = resources.shipped_names("profiles", ".yaml")
    best: dict[str, float] = {}
    for _ in range(rounds):
        for name in ("untraced", *names):
            best[name] = min(best.get(name, float("inf")), _ns(name))
    base = best.pop("untraced")
    print(f"untraced {base:.0f} ns a lock (a system call of Python's, mincore)")
    for name, ns in sorted(best.items(), key=lambda item: item[1]):
        print(f"{name:<18} +{ns - base:5.0f} ns  {(ns - base) / (best['hold-times'] - base):4.2f}x")


def _ns(name: str) -> float:
    argv = workload.command("mincores", COUNT)
    if name != "untraced":
        argv = [
            sys.executable,
            "-m",
            "mmaplock_bt",
            "run",
            name,
            "-q",
            "--format",
            "none",
            "--",
            *argv,
        ]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    told = re.search(r"^\{.*mincores.*\}$", done.stdout + done.stderr, re.MULTILINE)
    assert told is not None
    return float(json.loads(told[0])["ns"]) / COUNT


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
