"""How fast a big raw stream is read again, and in how much memory: make throughput.

    python tools/throughput.py [--mib 64] [--keep FILE]

The streams are made of the captured ones in tests/data: their stacks, replayed with other times,
lengths, threads and address spaces. CPU seconds depend on the machine, and somewhat on who else
uses it; beside them stands the ratio to json.loads alone on the same lines, measured in turns.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median

from mmaplock_bt.analysis.making import Making
from mmaplock_bt.result.model import ProfileInfo, TargetInfo, Tool
from mmaplock_bt.spec import profile
from mmaplock_bt.stream import recording
from mmaplock_bt.stream.collect import collect
from mmaplock_bt.stream.recording import Head
from mmaplock_bt.stream.records import Decoder, Trailer

ROOT = Path(__file__).resolve().parent.parent
PROFILES = ("long-holds", "blame")
PROCESSES, THREADS, USER_STACKS = 40, 8, 25
OPENED_NS = 5 * 10**12
SEED = 23
SLICE, COMPARED = 384, 60_000  # lines in a turn, and in all
# Run in a process of its own: the memory is its peak.
REPORT = """
import gc, resource, sys, time
from mmaplock_bt import cli
gc.set_threshold(cli.GC_OBJECTS)
began = time.process_time()
cli.main(["report", sys.argv[1], "--format", "none"])
took = time.process_time() - began
print(took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@dataclass(frozen=True)
class Process:
    """One of those that the stream is about, with the user stacks that it is seen in."""

    pid: int
    comm: str
    mm: int
    user_stacks: tuple[str, ...]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=64)
    parser.add_argument("--keep", help="where the last stream is left")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(wanted.keep or f"{folder}/raw.ndjson")
        for name in PROFILES:
            _write(path, lines(name, wanted.mib << 20))
            mb = path.stat().st_size / 1e6
            seconds, peak_mib = _report(path)
            print(
                f"{name:<12} {mb / seconds:6.1f} MB per CPU second, peak {peak_mib:.0f} MiB for "
                f"{wanted.mib} MiB; reading takes {_ratio(path):.2f} times json.loads",
                flush=True,
            )
    return 0


def lines(name: str, size_bytes: int) -> Iterator[str]:
    """Yields a raw stream of a profile, of about that size."""
    outputs = profile.load(name).template.declaration.outputs
    target = TargetInfo("6.18.0", "x86_64", 2, "0.27.1", {})
    yield Head(ProfileInfo(name, name, {}, {}, "0"), target, Tool("mmaplock-bt", "0"),
               "2026-01-01T00:00:00+00:00", None, outputs, 1).line()  # fmt: skip
    yield printed(f"open|{OPENED_NS}")
    printing = {n: o.printed for n, o in outputs.items() if o.kind == "events" and o.is_printed}
    written, now_ns, luck, stacks = 0, OPENED_NS, random.Random(SEED), captured_stacks()
    everybody = [_process(number, luck) for number in range(PROCESSES)]
    while written < size_bytes:
        for output, columns in printing.items():
            now_ns += int(luck.expovariate(1 / 20_000))
            values = _values(now_ns, luck.choice(everybody), luck.choice(stacks), luck)
            line = printed("|".join([output, *(values.get(one.name, "0") for one in columns)]))
            written += len(line) + 1
            yield line
    yield printed(f"close|{now_ns}")
    yield Trailer("duration", now_ns - OPENED_NS).line()


def printed(text: str) -> str:
    """Returns a printf's line as bpftrace writes it."""
    return json.dumps({"type": "printf", "data": f"{text}\n"})


def captured_stacks() -> list[str]:
    """Returns the kernel stacks of the captured streams, as printed."""
    found: dict[str, None] = {}
    for path in sorted((ROOT / "tests/data").glob("*forks.ndjson")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if '"data": "long_holds|' in line:
                found[json.loads(line)["data"].split("|")[-2]] = None
    return list(found)


def _process(number: int, luck: random.Random) -> Process:
    stacks = tuple(
        "".join(f"\n        0x{luck.getrandbits(47):x}" for _ in range(luck.randint(3, 12))) + "\n"
        for _ in range(USER_STACKS)
    )
    mm = 0xFFFF888100000000 + 1024 * number
    return Process(1000 + 100 * number, f"worker-{number}", mm, stacks)


def _values(now_ns: int, one: Process, stack: str, luck: random.Random) -> dict[str, str]:
    comm = "".join(f"\\x{byte:02x}" for byte in one.comm.encode().ljust(16, b"\0"))
    return {
        "time_ns": str(now_ns), "mode": str(luck.randrange(2)),
        "hold_ns": str(int(luck.expovariate(1 / 30_000))),
        "wait_ns": str(int(luck.expovariate(1 / 30_000))),
        "tid": str(one.pid + luck.randrange(THREADS)), "pid": str(one.pid), "comm": comm,
        "actor_kind": "0", "owner_pid": str(one.pid), "owner_comm": comm, "owner_kind": "0",
        "cgroup": "2873", "mm": f"{one.mm:x}", "kernel_stack": stack,
        "user_stack": luck.choice(one.user_stacks),
    }  # fmt: skip


def _write(path: Path, stream: Iterator[str]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in stream)


def _report(path: Path) -> tuple[float, float]:
    """(CPU seconds, MiB at the peak)"""
    argv = [sys.executable, "-c", REPORT, str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    seconds, peak_mib = done.stdout.split()
    return float(seconds), float(peak_mib)


def _ratio(path: Path) -> float:
    """How many times as long as json.loads alone the lines take, decoded and tallied."""
    with path.open(encoding="utf-8") as file:
        head, rest = recording.read(line.rstrip("\n") for line in islice(file, COMPARED))
        found = list(rest)
    slices = [found[at : at + SLICE] for at in range(0, len(found), SLICE)]
    making = Making(head.outputs)
    decoder = Decoder(head.outputs)
    for part in slices:  # once before: a long stream has its stacks in memory
        collect(decoder.decode(part), making.takers)
    return median(_turn(part, decoder, making) for part in slices)


def _turn(part: list[str], decoder: Decoder, making: Making) -> float:
    alone = _seconds(lambda: [json.loads(line) for line in part])
    return _seconds(lambda: collect(decoder.decode(part), making.takers)) / alone


def _seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


if __name__ == "__main__":
    sys.exit(main())
