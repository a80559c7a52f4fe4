"""Kills at random moments, and what is left over then: nothing, or a line that says what.

    python tools/chaos.py [--rounds 300] [--seed N] [--jobs 2] [--engine tracefs]

Each round has a seed of its own, which chooses a run, its engine, a moment, what is done to whom,
and how long after. `--seed N --rounds 1` does round N again. Looked for are processes, BPF programs
that nobody holds, instances of tracefs (a round beside it may remove them: --jobs 1), files in the
temporary folder, half a result, mounts, kernel.bpf_stats_enabled, a run that does not end, and a
fault of the tool's own.
"""

import argparse
import ctypes
import fcntl
import json
import os
import random
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from mmaplock_bt.machine import bpf_call, inventory
from mmaplock_bt.tracefs import instance
from mmaplock_bt.tracefs.tracer import NAME as TRACEFS_ENGINE
from mmaplock_bt.tracing.descendants import descendants
from mmaplock_bt.tracing.keeper import PR_SET_CHILD_SUBREAPER

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_S = 90.0  # what has not ended then never ends; other tests may load the machine
LEFT_S = 20.0  # who ignores SIGTERM has 5 s
TOOL = [sys.executable, "-P", "-m", "mmaplock_bt", "run", "hold-times"]
LONG = 'touch "$0"; exec sleep 600'
COMMANDS = {
    "long": LONG,
    "short": 'touch "$0"',
    "deaf": 'trap "" TERM INT HUP; touch "$0"; sleep 600; sleep 600',
    "daemon": f'setsid sh -c \'trap "" TERM HUP; sleep 600 & {LONG}\' "$0"',
    "stopped": 'touch "$0"; kill -STOP $$',
}
RUNS: dict[str, list[str]] = {
    **{name: ["--", "sh", "-c", text, "{began}"] for name, text in COMMANDS.items()},
    "repeat": [
        "--repeat",
        "3",
        "-o",
        "{out}/runs/",
        "--",
        "sh",
        "-c",
        COMMANDS["short"],
        "{began}",
    ],
    "window": ["-d", "1s"],
    "until Ctrl-C": [],
    "trap": ["--trap", "hold > 10s", "--trap-dir", "{out}/captures"],
}
# Weighed: what nobody can catch, above all.
DEEDS = {
    "tool SIGKILL": 6, "tool SIGINT": 2, "tool SIGTERM": 2, "tool SIGHUP": 2,
    "tool SIGINT twice": 1,
    "engine SIGKILL": 3, "engine SIGSTOP": 2, "engine SIGTERM": 1,
    "command SIGKILL": 2, "command SIGSTOP": 1, "command SIGTERM": 1,
    "terminal closed": 2, "stdout closed": 1, "stderr closed": 1, "parent SIGKILL": 1,
    "renderer breaks": 2,
}  # fmt: skip
# In front of the tool: a fault of its own, in what makes every report.
BROKEN = """
from mmaplock_bt import renderers
def broken(*_, **__):
    raise KeyError("a fault that was put there")
renderers.rendered = broken
"""
ENGINES = {"bpftrace": 3, "tracefs": 1}  # weighed, too
MOMENTS = ("starting", "compiling", "tracing", "ending")
_NEXT_ID = 11  # BPF_PROG_GET_NEXT_ID, include/uapi/linux/bpf.h
_STATISTICS = Path("/proc/sys/kernel/bpf_stats_enabled")
# Python's own start, before ours, may end in a traceback.
_WRONG = re.compile(
    r"Traceback(.|\n)*/mmaplock_bt/(?!__main__)"
    r"|a fault of mmaplock-bt|(refused|crashed on) the script"
)
_WITHOUT_RESULT = (4, 130)  # interrupted, or no bpftrace, before there was one


@dataclass
class Round:
    """What a seed comes to."""

    seed: int
    folder: Path
    engine: str | None = None  # None: by the seed
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.run = self.chance.choice(list(RUNS))
        self.moment = self.chance.choice(MOMENTS)
        self.deed = self.chance.choices(list(DEEDS), list(DEEDS.values()))[0]
        self.delay_s = self.chance.random() ** 2 * 0.6
        chosen = self.chance.choices(list(ENGINES), list(ENGINES.values()))[0]
        self.engine = "bpftrace" if self.run == "trap" else self.engine or chosen
        self.is_broken = self.deed == "renderer breaks"
        if self.is_broken and self.moment == "starting":  # what breaks it is imported then
            self.moment = "compiling"
        self.began, self.out, self.tmp = (self.folder / name for name in ("began", "out", "tmp"))
        for made in (self.out, self.tmp):
            made.mkdir()

    def __str__(self) -> str:
        when = f"{self.moment} + {self.delay_s * 1e3:.0f} ms"
        return f"{self.seed}: {self.deed}, {when}, {self.run}, {self.engine}"

    @property
    def words(self) -> list[str]:
        """The command line; a command's own words come last."""
        more = [word.format(began=self.began, out=self.out) for word in RUNS[self.run]]
        takes_file = self.run not in ("trap", "repeat")
        engine = ["--engine", "tracefs"] if self.engine == "tracefs" else []
        return [*TOOL, *engine, *(["-o", f"{self.out}/result.json"] if takes_file else []), *more]


class Chaos:
    """One round: the tool as a child of this process, which is a subreaper: nobody escapes it."""

    def __init__(self, one: Round) -> None:
        self.one = one
        self.wrong: list[str] = []
        self.before = (set(programs()), mounts(), _STATISTICS.read_text())
        self.err = one.folder / "err"
        self.ends: dict[str, int] = {}  # of ours, by what they are: closed by a deed

    def play(self) -> list[str]:
        """Returns what is wrong afterwards."""
        self.start()
        try:
            self.await_moment()
            time.sleep(self.one.delay_s)
            self.do()
            self.await_end()
        finally:
            for end in self.ends.values():
                os.close(end)
            self.look()
        return self.wrong

    def start(self) -> None:
        out, self.ends["stdout"] = self._pipe()
        err = os.open(self.err, os.O_WRONLY | os.O_CREAT, 0o600)
        words, environment = self.one.words, os.environ | {"TMPDIR": str(self.one.tmp)}
        preparation: Callable[[], object] | None = None
        stdin = subprocess.DEVNULL
        if self.one.deed == "stderr closed":
            os.close(err)
            err, self.ends["stderr"] = self._pipe()
        elif self.one.deed == "terminal closed":
            self.ends["terminal"], stdin = os.openpty()
            preparation = lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # noqa: E731
        elif self.one.deed == "parent SIGKILL":
            words = ["sh", "-c", '"$@" & wait', "sh", *words]
        elif self.one.is_broken:
            (self.one.folder / "sitecustomize.py").write_text(BROKEN)
            environment["PYTHONPATH"] = f"{self.one.folder}:{ROOT}"
        self.tool = 0
        self.child = subprocess.Popen(
            words, env=environment, stdin=stdin, stdout=out,
            stderr=err, start_new_session=True, preexec_fn=preparation,  # noqa: PLW1509
        )  # fmt: skip
        for end in (out, err, *([stdin] if stdin >= 0 else [])):
            os.close(end)
        self.tool = self.child.pid
        if words[0] == "sh":
            self.tool = self.until(lambda: next(iter(descendants(self.child.pid)), 0)) or 0

    def await_moment(self) -> None:
        """A moment that does not come (a command that is not there) is the next best one."""
        moment = self.one.moment
        if moment == "starting":
            return
        self.until(lambda: bool(self.engine()))
        if moment == "compiling":
            return
        self.until(self.is_tracing)
        if moment == "ending" and self.one.run not in ("short", "window", "repeat"):
            self.kill(self.tool, signal.SIGINT)

    def is_tracing(self) -> bool:
        """Its command has begun; without one, bpftrace's programs are loaded, or all is made."""
        if "{began}" in RUNS[self.one.run]:
            return self.one.began.exists()
        if self.one.engine == "tracefs":
            return any(int(name.split("-")[2]) in self.engine() for name in instances())
        return any(held(pid) for pid in self.engine())

    def do(self) -> None:
        who, _, what = self.one.deed.partition(" ")
        if self.one.is_broken:
            return
        if what == "closed":
            os.close(self.ends.pop(who))
            return
        victims = {
            "tool": lambda: [self.tool], "parent": lambda: [self.child.pid],
            "engine": self.engine, "command": self.command,
        }  # fmt: skip
        number = signal.Signals[what.split()[0]]
        for _ in range(2 if what.endswith("twice") else 1):
            for pid in victims[who]():
                self.kill(pid, number)

    def await_end(self) -> None:
        """What has been asked to end, has to; the others are asked now."""
        if self.one.deed.startswith(
            ("engine", "command", "stdout", "stderr", "parent", "renderer")
        ):
            with suppress(OSError):
                select.select([pidfd := os.pidfd_open(self.tool)], [], [], 0.5)
                os.close(pidfd)
            # A shell's background job is born ignoring SIGINT.
            is_job = self.one.deed.startswith("parent")
            self.kill(self.tool, signal.SIGTERM if is_job else signal.SIGINT)
        if self.until(lambda: not is_alive(self.tool)) is None:
            self.wrong.append(f"the run goes on after {PATIENCE_S:.0f} s")
            self.kill(self.tool, signal.SIGKILL)

    def look(self) -> None:
        """Notes what is left; ends it, too."""
        left = self.until(lambda: not self.alive(), LEFT_S) is None and self.alive()
        for pid in left or []:
            self.wrong.append(f"process {pid} ({told(pid)})")
            self.kill(pid, signal.SIGKILL)
        self.child.wait()
        with suppress(ChildProcessError):
            while os.waitpid(-1, 0)[0]:
                pass
        self._look_at_files()
        self._look_at_kernel()

    def _look_at_files(self) -> None:
        out = [path for path in self.one.out.rglob("*") if path.is_file()]
        kept = self._kept() if self.one.is_broken else []
        self.wrong += [
            f"file {path.name} in the temporary folder"
            for path in self.one.tmp.iterdir()
            if path not in kept
        ]
        self.wrong += [f"part of a file: {path.name}" for path in out if path.name.startswith(".")]
        for path in out:
            with suppress(OSError):
                try:
                    json.loads(path.read_text())
                except ValueError:
                    self.wrong.append(f"half a result: {path.name}")
        said = self.err.read_text(errors="replace")
        if self.one.is_broken:
            said = said.replace("a fault of mmaplock-bt", "")
        if _WRONG.search(said):
            self.wrong.append(f"it said: {said[-600:]}")
        # 1 is Python's own where its start is interrupted.
        if (self.child.returncode == 70 and not self.one.is_broken) or (
            self.child.returncode == 1 and self.one.moment != "starting"
        ):
            self.wrong.append(f"exit code {self.child.returncode}")

    def _kept(self) -> list[Path]:
        """Of a report that could not be made: a folder with the result, if there was one."""
        kept = list(self.one.tmp.glob("mmaplock-bt-kept-*"))
        has_result = self.child.returncode not in _WITHOUT_RESULT and self.one.run != "trap"
        if self.child.returncode != 70 and has_result:
            self.wrong.append(f"exit code {self.child.returncode}, and the report is broken")
        runs = any(self.one.out.rglob("run-*.json"))  # these are saved as they are made
        if len(kept) != (self.child.returncode == 70) or not all(_is_whole(k, runs) for k in kept):
            files = [str(path.relative_to(self.one.tmp)) for path in self.one.tmp.rglob("*")]
            self.wrong.append(f"kept: {files}")
        return kept

    def _look_at_kernel(self) -> None:
        known, mounted, statistics = self.before
        if self.until(lambda: not ownerless(known), LEFT_S) is None:
            self.wrong.append(f"BPF programs that nobody holds: {ownerless(known)}")
        if self.until(lambda: not unused(), LEFT_S) is None:
            self.wrong.append(f"instances of tracefs: {unused()}")
            instance.remove_left(inventory.tracefs())
        if lacking := mounts() - mounted:
            self.wrong.append(f"mounted: {lacking}")
        if _STATISTICS.read_text() != statistics:
            self.wrong.append("kernel.bpf_stats_enabled is changed")

    def until(self, is_so: Callable[[], object], limit_s: float = PATIENCE_S) -> int | None:
        """Waits for something, or for the tool's end where that comes first; None for neither."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            if found := is_so():
                return int(found)  # type: ignore[call-overload, no-any-return]
            if limit_s == PATIENCE_S and self.tool and not is_alive(self.tool):
                return int(bool(is_so()))
            time.sleep(0.003)
        return None

    def engine(self) -> list[int]:
        names = ("bpftrace", TRACEFS_ENGINE)
        return [pid for pid in descendants(self.tool) if comm(pid).startswith(names)]

    def command(self) -> list[int]:
        keepers = [pid for pid in descendants(self.tool) if comm(pid) == "command-keeper"]
        return [pid for keeper in keepers for pid in children(keeper)]

    def alive(self) -> list[int]:
        return [pid for pid in descendants(os.getpid()) if is_alive(pid)]

    @staticmethod
    def kill(pid: int, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)

    @staticmethod
    def _pipe() -> tuple[int, int]:
        """(writer, reader), which holds more than any report."""
        reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 1 << 20)
        return writer, reader


def _is_whole(kept: Path, is_saved: bool) -> bool:
    """Whether a folder has what was collected, unless it is saved, and why it is there."""
    names = {path.name for path in kept.iterdir()}
    return "fault.txt" in names and (is_saved or "result.json" in names)


def comm(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    return ""


def told(pid: int) -> str:
    """Name and state, by /proc/PID/stat (which takes no lock)."""
    with suppress(OSError):
        return " ".join(Path(f"/proc/{pid}/stat").read_text(errors="replace").split()[1:5])
    return "gone"


def is_alive(pid: int) -> bool:
    with suppress(OSError):
        return (
            Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(") ")[2][0] not in "ZX"
        )
    return False


def children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def mounts() -> set[str]:
    """Less those of tests that run beside this."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return {line for line in lines if " - fuse " not in line}


def programs() -> Iterator[int]:
    """The ids of all BPF programs that are loaded."""
    identity = 0
    while True:
        done, left, _ = bpf_call.bpf(_NEXT_ID, struct.pack("II", identity, 0))
        if done < 0:
            return
        identity = struct.unpack_from("II", left)[1]
        yield identity


def held(pid: int) -> set[int]:
    """The ids of the BPF programs that a process has descriptors of."""
    found = set()
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                if str(entry.readlink()) == "anon_inode:bpf-prog":
                    text = Path(f"/proc/{pid}/fdinfo/{entry.name}").read_text()
                    found.add(int(re.search(r"prog_id:\s*(\d+)", text)[1]))  # type: ignore[index]
    return found


def ownerless(known: set[int]) -> set[int]:
    """New programs that no process has: others trace on this machine, too."""
    new = set(programs()) - known
    if not new:
        return new
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    new -= set().union(*map(held, pids))
    return new & set(programs())


def instances() -> list[str]:
    """The names of all instances of tracefs that are the tool's."""
    return [path.name for path in inventory.tracefs().glob("instances/mmaplock-bt-*")]


def unused() -> list[str]:
    """Those whose process is gone: others trace on this machine, too."""
    return [name for name in instances() if not instance.is_used(name)]


def worker(seeds: list[int], engine: str | None) -> None:
    """Plays rounds one after another, and prints a line of JSON for each."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for seed in seeds:
        folder = Path(tempfile.mkdtemp(prefix="mmaplock-chaos-"))
        try:
            one = Round(seed, folder, engine)
            wrong = Chaos(one).play()
            print(json.dumps([str(one), [one.moment, one.deed, one.engine], wrong]), flush=True)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    # A shell's background job is born ignoring it, and what it starts, too, until our handler is
    # there: a Ctrl-C before that would say nothing.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    arguments = _arguments()
    if arguments.worker:
        worker(arguments.worker, arguments.engine)
        return 0
    print(f"seeds {arguments.seed} to {arguments.seed + arguments.rounds - 1}", flush=True)
    done: Counter[str] = Counter()
    wrong = 0

    def played(turn: int) -> None:
        nonlocal wrong
        seeds = range(arguments.seed + turn, arguments.seed + arguments.rounds, arguments.jobs)
        chosen = ["--engine", arguments.engine] if arguments.engine else []
        words = [sys.executable, __file__, *chosen, "--worker", *map(str, seeds)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout or []:
                shown, counted, found = json.loads(line)
                done.update([*counted, "rounds"])
                wrong += bool(found)
                if done["rounds"] % 50 == 0:
                    print(f"{done['rounds']} rounds, {wrong} with something left", flush=True)
                if found:
                    print(f"{shown}\n  " + "\n  ".join(found), flush=True)

    with ThreadPoolExecutor(arguments.jobs) as pool:
        list(pool.map(played, range(arguments.jobs)))
    print(", ".join(f"{name} {count}" for name, count in done.most_common()))
    print(f"{done['rounds']} of {arguments.rounds} rounds played, {wrong} with something left")
    return int(wrong > 0 or done["rounds"] != arguments.rounds)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3)))
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--engine", choices=list(ENGINES), help="by which all trace (any)")
    parser.add_argument("--worker", type=int, nargs="+", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
