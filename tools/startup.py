"""What the tool adds to bpftrace's own start and end: `run PROFILE -- true` against bare bpftrace.

python tools/startup.py [ROUNDS] [PROFILE]: both take turns, with the same script, after a first run
that remembers what the machine offers; medians, minima and their ratios. MMAPLOCK_BPFTRACE chooses
another bpftrace.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mmaplock_bt.command_line import default_bpftrace
from mmaplock_bt.machine import held_btf, inventory
from mmaplock_bt.script.render import render
from mmaplock_bt.spec import profile
from mmaplock_bt.tracing.bpftrace import Tracer

TOOL = [str(Path(sys.executable).with_name("mmaplock-bt"))]
QUICK = {"--help": ["--help"], "list": ["list"]}


def main(rounds: int, name: str) -> None:
    machine = inventory.probe(default_bpftrace())
    script = render(profile.load(name), machine, tree=True)
    order = Tracer(script, machine).order
    with tempfile.TemporaryDirectory() as folder:
        # As of an installed package; root's runs in a checkout keep no bytecode.
        os.environ["PYTHONPYCACHEPREFIX"] = folder
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        file = Path(folder) / "script.bt"
        file.write_text(script.text)
        command = ["-f", "json", "-o", os.devnull, "-c", str(shutil.which("true"))]
        ways = {
            "bare": [*order.words, *command, str(file), "0", "0", "0"],
            "run": [*TOOL, "run", name, "-q", "--format", "none", "--", "true"],
        } | {shown: [*TOOL, *words] for shown, words in QUICK.items()}
        _ms(ways["run"], order.settings)
        with held_btf.held():  # bare bpftrace 0.27 may need it
            taken = [
                {way: _ms(argv, order.settings) for way, argv in ways.items()}
                for _ in range(rounds)
            ]
    print(f"bpftrace {machine.bpftrace}, {name}, {rounds} rounds, ms: median (least)")
    for way in ways:
        every = [one[way] for one in taken]
        print(f"{way:<8} {statistics.median(every):6.0f} ({min(every):.0f})")
    pairs = statistics.median(one["run"] / one["bare"] for one in taken)
    least = min(one["run"] for one in taken) / min(one["bare"] for one in taken)
    print(f"run / bare: median of the rounds' ratios {pairs:.2f}, of the least {least:.2f}")


def _ms(argv: list[str], settings: dict[str, str]) -> float:
    before = time.perf_counter()
    subprocess.run(
        argv, check=True, env=os.environ | settings,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return (time.perf_counter() - before) * 1e3


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 15,
        sys.argv[2] if len(sys.argv) > 2 else "hold-times",
    )
