"""A raw stream: bpftrace's lines between a header and a trailer of ours, and what they say.

The same reading serves a live run and a saved file.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from mmaplock_bt.errors import UsageError
from mmaplock_bt.result.model import SCHEMA, ProfileInfo, TargetInfo, Tool
from mmaplock_bt.spec.declaration import Output
from mmaplock_bt.stream import bpftrace_json
from mmaplock_bt.stream.identities import NAMES, Parties, text
from mmaplock_bt.tracing import cgroup_paths, open_spans, user_frames

HEADER, TRAILER = "mmaplock-bt", "mmaplock-bt-end"
UNPARSED = "not understood: "
MESSAGES = 20  # different ones kept of what bpftrace said beside the outputs
OWN = (TRAILER, user_frames.RECORD, cgroup_paths.RECORD, open_spans.RECORD)


@dataclass
class Collected:
    """What the stream said, before it is put in order."""

    printed: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    maps: dict[str, tuple[tuple[str, Any], ...]] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    name_cgroups: dict[int, int] = field(default_factory=dict)
    opened_ns: int | None = None
    closed_ns: int | None = None
    attached: int | None = None
    lost: int = 0
    map_full: int = 0
    stack_errors: int = 0
    unparsed: int = 0
    hists: dict[str, bpftrace_json.HistDump] = field(default_factory=dict)
    stats: dict[str, bpftrace_json.StatsDump] = field(default_factory=dict)
    said: Counter[str] = field(default_factory=Counter)
    trailer: dict[str, Any] = field(default_factory=dict)
    user_frames: dict[tuple[int, str], str] = field(default_factory=dict)
    cgroups: dict[int, str] = field(default_factory=dict)
    parties: Parties = field(default_factory=Parties)
    blind: bool = False  # a look at open waits and holds failed
    acquired: dict[str, str] = field(default_factory=dict)
    polls: list[dict[str, Any]] = field(default_factory=list)

    def cgroup(self, identity: int) -> str | None:
        """A cgroup's path; one that is gone keeps its number; 0 is none."""
        return self.cgroups.get(identity, f"unknown({identity})") if identity else None

    def note(self, text: str) -> None:
        known = text in self.said or len(self.said) < MESSAGES
        self.said[text[:200] if known else "other messages"] += 1

    def note_unparsed(self, text: str) -> None:
        self.unparsed += 1
        self.note(UNPARSED + text)

    def forget_unparsed(self) -> None:
        """Before the window these are compile warnings: 0.24 to 0.26 print them among the JSON."""
        self.unparsed = 0
        kept = {t: n for t, n in self.said.items() if not t.startswith(UNPARSED)}
        self.said = Counter(kept)

    def messages(self, outputs: dict[str, Output]) -> list[str]:
        """What bpftrace said beside the outputs, in its order, and maps that none declares."""
        fills = {name: output.kind for name, output in outputs.items()}
        found = [f"{text} ({n} times)" if n > 1 else text for text, n in self.said.items()]
        for dumps, kind in ((self.hists, "histogram"), (self.stats, "table")):
            stray = sorted(n for n, d in dumps.items() if d.entries and fills.get(n) != kind)
            found += [f"@{n}, filled by the template, is no output of kind {kind}" for n in stray]
        return found


@dataclass(frozen=True)
class Head:
    """First line of a raw stream: all that is needed to analyse the rest."""

    profile: ProfileInfo
    target: TargetInfo
    tool: Tool
    start: str
    argv: list[str] | None
    outputs: dict[str, Output]
    probes: int

    def line(self) -> str:
        declared = {name: output.model_dump() for name, output in self.outputs.items()}
        plain = {name: vars(getattr(self, name)) for name in ("profile", "target", "tool")}
        rest = {"start": self.start, "argv": self.argv, "outputs": declared, "probes": self.probes}
        return json.dumps({"type": HEADER, "schema": SCHEMA, **plain, **rest})

    @classmethod
    def parse(cls, line: str) -> "Head":
        """Raises UsageError when the line heads no raw stream."""
        try:
            head = json.loads(line)
            if head.pop("type") != HEADER or head.pop("schema") != SCHEMA:
                raise ValueError
            declared = head["outputs"].items()
            head["outputs"] = {name: Output.model_validate(item) for name, item in declared}
            for name, kind in (("profile", ProfileInfo), ("target", TargetInfo), ("tool", Tool)):
                head[name] = kind(**head[name])
            return cls(**head)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError("no raw stream of mmaplock-bt: the first line is no header") from error


def trailer(
    ended_by: str, duration_ns: int, status: int | None, cpu_wait_ns: int | None = None
) -> str:
    """Last line of a raw stream; `status` is the traced command's, `cpu_wait_ns` pressure's."""
    told = {"ended_by": ended_by, "duration_ns": duration_ns, "status": status}
    return json.dumps({"type": TRAILER, **told, "cpu_wait_ns": cpu_wait_ns})


def collect(lines: Iterator[str]) -> Collected:
    got = Collected()
    for record in bpftrace_json.parse(_without_own(lines, got)):
        match record:
            case bpftrace_json.Printed():
                _note_printed(got, record)
            case (
                bpftrace_json.MapDump()
                | bpftrace_json.TextDump()
                | bpftrace_json.HistDump()
                | bpftrace_json.StatsDump()
            ):
                _keep(got, record)
            case bpftrace_json.Attached(probes=probes):
                got.attached = probes
            case bpftrace_json.Lost(events=lost):
                got.lost += lost
            case bpftrace_json.HelperError(helper=helper, retcode=retcode):
                _note_error(got, helper, retcode)
            case bpftrace_json.Said(kind=kind, text=said):
                got.note(f"{kind}: {said}")
            case bpftrace_json.Unparsed(text=line):
                got.note_unparsed(line)
    return got


def _keep(got: Collected, dump: bpftrace_json.Dump) -> None:
    match dump:
        case bpftrace_json.MapDump():
            got.maps[dump.name] = dump.entries
        case bpftrace_json.TextDump(name=open_spans.ACQUIRED):
            got.acquired = dict(dump.entries)
        case bpftrace_json.TextDump():
            for key, value in dump.entries:
                got.note(f"@{dump.name}[{key}]: {value}" if key else f"@{dump.name}: {value}")
        case bpftrace_json.HistDump():
            got.hists[dump.name] = dump
        case bpftrace_json.StatsDump():
            got.stats[dump.name] = dump


def _note_printed(got: Collected, record: bpftrace_json.Printed) -> None:
    name, rest = record.name, record.rest
    try:
        if name == "name":
            pid, *cgroup, escaped = rest.split("|")
            got.names[int(pid)] = text(escaped)
            got.name_cgroups[int(pid)] = int(*cgroup)
        elif name in NAMES:
            got.parties.note(record)
        elif name == "open":
            got.opened_ns = int(rest)
            got.forget_unparsed()
        elif name == "close":
            got.closed_ns = int(rest)
        else:
            got.printed[name].append(rest)
    except (ValueError, IndexError):
        got.note_unparsed(f"{name}|{rest}")


def _without_own(lines: Iterator[str], got: Collected) -> Iterator[str]:
    """bpftrace's lines; the tool's own ones are noted.

    One that is cut off (a full disk) is left to the parser, which counts it.
    """
    marks = tuple(f'{{"type": "{kind}"' for kind in OWN)
    for line in lines:
        if line.startswith(marks):
            with suppress(ValueError):
                _note_own(got, json.loads(line))
                continue
        yield line


def _note_own(got: Collected, told: dict[str, Any]) -> None:
    kind = told["type"]
    if kind == TRAILER:
        got.trailer = told
    elif kind == cgroup_paths.RECORD:
        got.cgroups |= {int(identity): path for identity, path in told["paths"].items()}
    elif kind == user_frames.RECORD:
        for address, name in told["frames"].items():
            got.user_frames[told["pid"], address] = name
    elif "failed" in told:
        got.blind = True
        got.note(f"open waits and holds were not looked at: {told['failed']}")
    else:
        for span in told["spans"]:  # as known now: addresses and thread ids are used again
            span |= {**got.parties.spaces.get(span["mm"], {}),
                     **got.parties.threads.get(span["tid"], {})}  # fmt: skip
        got.polls.append(told)


def _note_error(got: Collected, helper: str, retcode: int) -> None:
    if "stack" in helper:
        got.stack_errors += (
            retcode != bpftrace_json.EFAULT
        )  # kernel threads and exit have no user stack
    elif helper.startswith("map_update") or retcode == bpftrace_json.E2BIG:
        got.map_full += 1
