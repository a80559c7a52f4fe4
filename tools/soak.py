"""Does a long run stay as it began? The overview and stuck-locks for many minutes under stress-ng.

    python tools/soak.py [--minutes 20] [--kept 1000] [--docs]

Both run at once, each with a log of what it takes: resident memory of Python and of bpftrace, how
full its maps are. A line is fitted to the memory of the second half; what it comes to in an hour
has a bound; pages of files are left out. The books have to balance and what is lost has to be told.
With --docs the figures go to docs/reliability.md. Exit status 1: a bound was passed.

What is kept of waits and holds, names and threads has bounds that take hours to reach, and until
then memory grows as it may. Here these bounds are --kept, so that they are reached in the first
half: what grows in the second is what has none. (The same of objects, in seconds and of a stream in
which all is new: tests/unit/analysis/test_bounded.py.) One thing grows on: whenever a window's
length doubles, 60 steps of its timeline come, about a megabyte.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from mmaplock_bt.result.model import EventsData, Result
from mmaplock_bt.result.saved import from_json
from mmaplock_bt.tracing import bpf_maps
from mmaplock_bt.tracing.descendants import descendants

PROFILES = ("overview", "stuck-locks")
FILLING = "overview"  # of which there are so many events that not all are kept
LOAD = [
    "--vm", "1", "--vm-bytes", "64m", "--mmap", "1", "--mmap-bytes", "32m", "--fork", "1",
    "--pthread", "1",
]  # fmt: skip
SAMPLE_S = 5
MIB = 1 << 20
GROWTH_MIB_PER_HOUR = 12  # a page's noise over ten minutes comes to about that
MOST_MIB = 150  # of Python
# The tool, what it keeps bounded more tightly.
TOOL = """
import sys
from mmaplock_bt import cli
from mmaplock_bt.analysis import grouping, kept, making
from mmaplock_bt.stream import recent
from mmaplock_bt.stream.memo import Memo
from mmaplock_bt.tracing.backlog import Backlog
kept.FIRST = kept.SAMPLE = making.SPANS = recent.MOST = grouping.STARTS = int(sys.argv.pop(1))
Memo.__init__.__defaults__ = (kept.FIRST,)
Backlog.__init__.__defaults__ = (kept.FIRST * 50, kept.FIRST * 50)
sys.exit(cli.main(sys.argv[1:]))
"""
DOCS = Path(__file__).parent.parent / "docs" / "reliability.md"


@dataclass
class Run:
    """A run of a profile, and what it took: (seconds, bytes) of Python and of bpftrace."""

    profile: str
    out: Path
    process: subprocess.Popen[bytes]
    python: list[tuple[float, int]] = field(default_factory=list)
    bpftrace: list[tuple[float, int]] = field(default_factory=list)
    filled: dict[str, tuple[int, int]] = field(
        default_factory=dict
    )  # map -> most entries, its size

    def sample(self, at_s: float) -> None:
        """Notes what it takes now."""
        with suppress(OSError, StopIteration):
            child = next(pid for pid in descendants(self.process.pid) if _comm(pid) == "bpftrace")
            self.python.append((at_s, _resident(self.process.pid)))
            self.bpftrace.append((at_s, _resident(child)))
            self._fill(child)

    def _fill(self, child: int) -> None:
        maps = bpf_maps.of_process(child)
        try:
            for name, one in maps.items():
                with suppress(OSError):
                    count = sum(1 for _ in one.items())
                    self.filled[name] = max(count, self.filled.get(name, (0, 0))[0]), one.size
        finally:
            bpf_maps.close(maps)


def main() -> int:
    """Runs both, prints what they took and whether that is within bounds."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--kept", type=int, default=1000, help="waits, holds, names and so on")
    parser.add_argument("--docs", action="store_true", help="write the figures to docs/")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, _load(given.minutes):
        runs = [_started(profile, Path(folder), given) for profile in PROFILES]
        _watch(runs)
        told = [_told(run) for run in runs]
    rows = [row for row, _ in told]
    faults = [
        f"{run.profile}: {fault}"
        for run, (_, found) in zip(runs, told, strict=True)
        for fault in found
    ]
    text = "\n".join([*_head(given), *rows, ""])
    print(text + "\n".join(faults))
    if given.docs and not faults:
        before, title, _ = DOCS.read_text().partition("## Soak\n")
        DOCS.write_text(f"{before}{title}\n{text}")
    return 1 if faults else 0


@contextmanager
def _load(minutes: float) -> Iterator[None]:
    """stress-ng in a process group of its own, until the runs have ended."""
    words = ["stress-ng", *LOAD, "--timeout", f"{int(minutes * 60) + 600}s", "--quiet"]
    load = subprocess.Popen(words, process_group=0)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(load.pid, signal.SIGKILL)
        load.wait()


def _started(profile: str, folder: Path, given: argparse.Namespace) -> Run:
    out = folder / f"{profile}.json"
    words = ["run", profile, "-d", f"{int(given.minutes * 60)}s", "-q", "-o", str(out)]
    tool = [sys.executable, "-P", "-c", TOOL, str(given.kept), *words]
    with (folder / f"{profile}.err").open("wb") as said:
        return Run(profile, out, subprocess.Popen(tool, stdout=said, stderr=said))


def _watch(runs: list[Run]) -> None:
    began_s = time.monotonic()
    while any(run.process.poll() is None for run in runs):
        for run in runs:
            run.sample(time.monotonic() - began_s)
        time.sleep(SAMPLE_S)


def _told(run: Run) -> tuple[str, list[str]]:
    """A row of the table, and what is out of bounds."""
    if run.process.returncode != 0 or not run.out.exists():
        said = run.out.with_suffix(".err").read_text(errors="replace")[-1000:]
        return f"| {run.profile} | ended with {run.process.returncode} |", [said]
    result = from_json(run.out.read_text())
    python, tracer = _growth(run.python), _growth(run.bpftrace)
    most = max(size for _, size in run.python) / MIB
    books, loss = result.books, result.loss
    faults = [
        f"{name} grows by {grown:.1f} MiB in an hour"
        for name, grown in (("Python", python), ("bpftrace", tracer))
        if grown > GROWTH_MIB_PER_HOUR
    ]
    faults += [f"Python took {most:.0f} MiB"] * (most > MOST_MIB)
    is_full = run.profile != FILLING or _is_full(result)
    faults += ["the bounds were not reached: give --kept less"] * (not is_full)
    faults += [f"residue {books.residue}"] * (books.residue != 0 and loss.complete)
    return _row(run, result, most, python, tracer), faults


def _is_full(result: Result) -> bool:
    """Whether of each kind of events that was printed not all are kept."""
    printed = {name for name, one in result.declarations.items() if one.is_printed}
    events = [one for name, one in result.outputs.items() if name in printed]
    return all(one.total is not None for one in events if isinstance(one, EventsData))


def _row(run: Run, result: Result, most: float, python: float, tracer: float) -> str:
    name, (entries, size) = max(run.filled.items(), key=lambda one: one[1][0] / one[1][1])
    books, loss = result.books, result.loss
    told = "complete" if loss.complete else f"not complete: {loss.lost_events:,} events lost"
    return (
        f"| `{run.profile}` | {result.window.duration_ns / 60e9:.1f} min, {result.window.ended_by} "
        f"| {books.acquires or 0:,} | {most:.0f} MiB, {python:+.1f} MiB/h "
        f"| {max(size for _, size in run.bpftrace) / MIB:.0f} MiB, {tracer:+.1f} MiB/h "
        f"| `@{name}` {entries:,} of {size:,} | {books.residue} | {told} |"
    )


def _head(given: argparse.Namespace) -> list[str]:
    return [
        f"`make soak MINUTES={given.minutes:g}`: the overview and stuck-locks at once, beside "
        f"`stress-ng {' '.join(LOAD)}`",
        f"on {os.cpu_count()} CPUs; kernel {os.uname().release.split('-')[0]}. What is kept of "
        f"waits, holds, names and threads is bounded to {given.kept:,} of each",
        "(else 16,384 to 50,000, which take hours), so that the first half fills it; the slope is "
        "that of a line fitted to the second half, without pages of files;",
        f"more than {GROWTH_MIB_PER_HOUR} MiB/h, more than {MOST_MIB} MiB of Python, or books that "
        "do not balance fail.",
        "",
        "| profile | window | acquisitions | Python at most, slope | bpftrace at most, slope "
        "| fullest map | residue | loss |",
        "|---|---|---|---|---|---|---|---|",
    ]


def _growth(samples: list[tuple[float, int]]) -> float:
    """MiB in an hour, by the second half of the samples."""
    half = samples[len(samples) // 2 :]
    slope, _ = statistics.linear_regression(*zip(*half, strict=True))
    return slope * 3600 / MIB


def _resident(pid: int) -> int:
    """Without pages of files, which come and go with what else the machine has to do."""
    status = Path(f"/proc/{pid}/status").read_text(errors="replace")
    return int(status.partition("RssAnon:")[2].split()[0]) * 1024


def _comm(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    return ""


if __name__ == "__main__":
    sys.exit(main())
