"""Who is measured: each a command line, in plain words.

In braces stand places that a run fills: {python}, {victim}, {work}, {idle_pid}, {idle_cgroup},
{bpftrace:0.17} and the like, and what the workshop built, {c}, {bcc}. HOLDER becomes the words of a
command that runs until the measurement is over, {holder} the same in one word.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

HOLDER = "HOLDER"
PEERS = Path(__file__).resolve().parent / "peers"
EVENTS = ("start_locking", "acquire_returned", "released")
BASE = "C, libbpf: hold and owners"
EMPTY = "three empty tracepoint probes"
OURS = "mmaplock-bt"

# How it says that its probes are live: its command starts, it prints a line, or not at all (the
# armed trap) and it is when it has become idle.
Ready = Literal["holder", "line", "settled"]


@dataclass(frozen=True)
class Contender:
    """One row. `what` and `by` (a bpftrace, or nothing) name it; the same `what` is one line."""

    what: str
    words: tuple[str, ...]
    by: str = ""
    ready: Ready = "holder"
    quick: bool = False

    @property
    def name(self) -> str:
        return f"{self.what} ({self.by})" if self.by else self.what


def contenders(profiles: Iterable[str], bpftraces: Iterable[str]) -> list[Contender]:
    """Returns all of them; `bpftraces` are versions like '0.17', the machine's own first."""
    versions = list(bpftraces)
    names = list(profiles)
    return [*_peers(), *_scripts(versions), *_others(), *_ours(names, versions), *_by_tracefs()]


def _peers() -> list[Contender]:
    return [
        Contender("nothing", (HOLDER,), quick=True),
        Contender(BASE, ("{c}",), ready="line", quick=True),
        Contender("C, libbpf: hold and owners, task-local storage", ("{c-storage}",),
                  ready="line", quick=True),
        Contender("C, libbpf: hold, wait and owners", ("{c-wait}",), ready="line"),
        Contender("BCC: hold and owners", ("{bcc}",), ready="line", quick=True),
        Contender("kernel module: hold and owners", ("{module}",), ready="line"),
    ]  # fmt: skip


def _scripts(versions: list[str]) -> Iterator[Contender]:
    """bpftrace programs of few lines: floors, and what one writes by hand."""
    for file, what, quick in (
        ("contention.bt", "contention tracepoints only", False),
        ("released-if-waited.bt", "one released probe that returns unless somebody waits", False),
        ("empty-raw.bt", "three empty raw tracepoints", False),
        ("empty.bt", EMPTY, True),
        ("by-hand.bt", "a script as one writes it: wait and hold, hist()", True),
    ):
        text = (PEERS / file).read_text("utf-8")
        for at, version in enumerate(versions):
            words = (f"{{bpftrace:{version}}}", "-q", "-e", text, "-c", "{holder}")
            yield Contender(what, words, version, quick=quick and at == 0)


def _others() -> list[Contender]:
    events = ",".join(f"mmap_lock:mmap_lock_{event}" for event in EVENTS)
    return [
        Contender("perf record, the three events",
                  ("perf", "record", "-q", "-a", "-e", events, "-o", "{work}/perf.data", "--",
                   HOLDER), quick=True),
        Contender("perf trace, the three events",
                  ("perf", "trace", "-a", "-e", events, "-o", "/dev/null", "--", HOLDER)),
        Contender("perf lock contention -b",
                  ("perf", "lock", "contention", "-a", "-b", "--", HOLDER)),
        Contender("trace-cmd record, the three events",
                  ("trace-cmd", "record", "-q", "-e", "mmap_lock", "-o", "{work}/trace.dat",
                   HOLDER)),
    ]  # fmt: skip


@dataclass(frozen=True)
class _Way:
    """Options that a profile is run with; no `profiles` are all."""

    options: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()


_WAITING = ("overview", "blame", "convoys", "stuck-locks", "writer-starvation")
_SAMPLED = ("hold-times", "wait-times", "long-holds")
_WAYS = (
    _Way(quick=("hold-times", "blame", "overview")),
    _Way(("--locks", "all"), _WAITING, quick=("blame",)),
    _Way(("--locks", "contended"), ("foreign-holds",)),
    _Way(("--sample", "1/16"), _SAMPLED, quick=("hold-times",)),
    _Way(("-p", "{idle_pid}"), ("hold-times", "overview")),
    _Way(("--comm", "nobody"), ("hold-times",)),
    _Way(("--owner-comm", "nobody"), ("hold-times",)),
    _Way(("--cgroup", "{idle_cgroup}"), ("hold-times", "overview")),
)


def _ours(profiles: list[str], versions: list[str]) -> Iterator[Contender]:
    for version in versions:
        for way in _WAYS:
            for profile in way.profiles or profiles:
                words = _run(version, profile, *way.options, "--system-wide", "--", HOLDER)
                what = " ".join([OURS, profile, *map(_shown, way.options)])
                yield Contender(what, words, version, quick=profile in way.quick)
        trap = _run(version, "--trap", "hold>10s", "--trap-dir", "{work}/trap")
        yield Contender(f"{OURS}, armed trap", trap, version, ready="settled")


# Without stacks, and with one for each lock: no stack waits until a hold is known to be long.
_BY_TRACEFS = {"hold-times": True, "wait-times": False, "blame": True, "long-holds": False}


def _by_tracefs() -> Iterator[Contender]:
    engine = ("--engine", "tracefs")
    for profile, is_quick in _BY_TRACEFS.items():
        words = _tool(*engine, "--format", "none", profile, "--system-wide", "--", HOLDER)
        yield Contender(" ".join([OURS, profile, *engine]), words, quick=is_quick)


def _run(version: str, *words: str) -> tuple[str, ...]:
    output = () if "--trap" in words else ("--format", "none")
    return _tool("--bpftrace", f"{{bpftrace:{version}}}", *output, *words)


def _tool(*words: str) -> tuple[str, ...]:
    return ("{python}", "-P", "-m", "mmaplock_bt", "run", "-q", *words)


def _shown(option: str) -> str:
    return {"{idle_pid}": "another's", "{idle_cgroup}": "another's"}.get(option, option)
