"""Collects all that a window's stream says, before the analysis puts it in order."""

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from mmaplock_bt.escaping import plain
from mmaplock_bt.result.loss import RACED
from mmaplock_bt.result.model import Cost, Step
from mmaplock_bt.spec.outputs import Outputs
from mmaplock_bt.stream import bpftrace_json, lock_frames, records
from mmaplock_bt.stream.bpftrace_json import HistDump, MapDump, StatsDump, TextDump
from mmaplock_bt.stream.identities import Identities
from mmaplock_bt.stream.printed_lines import Row
from mmaplock_bt.stream.recent import Recent
from mmaplock_bt.stream.records import NAMES, PRINTED, Look, Record, Thread, Trailer, Whose

UNPARSED = "not understood: "
UNREAD = "have no function: there was no time to look them up"
Taker = Callable[[Sequence[Row]], None]
MESSAGES = 20  # different ones kept of what bpftrace said beside the outputs
MAPS = 1000  # a script has some dozens
TICKS = 10_000  # a window of a year has 1,400
FRAMES = 100_000  # user frames with a name; a window looks up no more


class Doing(NamedTuple):
    """What a holder was seen at: when, its stack, and the thread in a page fault it waited for."""

    when_ns: int
    stack: list[str]
    faulting: records.Faulting | None

    def tells(self) -> int:
        """How much of what kept the holder is told by it."""
        return bool(lock_frames.reason(self.stack)) + bool(self.faulting)


@dataclass(frozen=True)
class Seen:
    """An open span in the latest look at it, with thread and owner as known at that moment.

    Addresses and thread ids are used again: what is said of them later may be about others.
    `stack` is the latest that there was; `doing` what a holder was seen at: of several looks the
    first that tells most.
    """

    now_ns: int
    span: records.Span
    thread: Thread | None
    space: Whose | None
    stack: list[str]
    doing: Doing | None


@dataclass
class Collected:
    """All that a stream said but its events, before it is put in order."""

    maps: dict[str, tuple[tuple[str, int], ...]] = field(default_factory=dict)
    hists: dict[str, HistDump] = field(default_factory=dict)
    stats: dict[str, StatsDump] = field(default_factory=dict)
    names: Recent[int, records.Named] = field(default_factory=Recent)
    unnamed: int = 0  # asked for names that may have been forgotten
    opened_ns: int | None = None
    closed_ns: int | None = None
    attached: int | None = None
    arrived: Counter[str] = field(default_factory=Counter)  # lines of the script, by name
    lost: int = 0  # as bpftrace says
    dropped: int = 0  # lines that came, and that there was no room for
    map_full: int = 0
    raced: int = 0  # counts that another CPU was a moment before
    stack_errors: int = 0  # as bpftrace says
    stackless: int = 0  # events without their kernel stack
    unparsed: int = 0
    said: Counter[str] = field(default_factory=Counter)
    trailer: Trailer | None = None
    user_frames: Recent[tuple[int, str], str] = field(default_factory=lambda: Recent(FRAMES))
    unread_frames: int = 0  # user frames in files that there was no time to read
    cgroups: Recent[int, str] = field(default_factory=Recent)
    identities: Identities = field(default_factory=Identities)
    blind: bool = False  # a look at open waits and holds failed
    acquired: dict[str, str] = field(default_factory=dict)
    seen: Recent[tuple[int, str, int], Seen] = field(default_factory=Recent)  # tid, mm, begin
    looked_ns: int = 0  # when the last look was
    sleepers: records.Sleepers | None = None
    ticks: list[records.Ticked] = field(default_factory=list)
    cost: Cost | None = None
    left_out: int = 0  # ticks and steps that there was no room for
    steps: list[Step] = field(default_factory=list)  # of how many locks one was followed, and when

    def cgroup(self, identity: int) -> str | None:
        """Returns a cgroup's path, 'unknown(ID)' for one that is gone, None for id 0."""
        return self.cgroups.get(identity, f"unknown({identity})") if identity else None

    def comm(self, pid: int) -> str | None:
        """Returns a process's name, None where the script did not print it."""
        if (named := self.names.get(pid)) is not None:
            return named.comm
        self.unnamed += self.names.forgotten > 0
        return None

    def missed(self) -> dict[str, int] | None:
        """Returns how many lines the script printed that did not come, by their names.

        None where it did not say how many it had printed: its maps come last, or never.
        """
        counts = {n.removeprefix(PRINTED): n for n in self.maps if n.startswith(PRINTED)}
        if "close" not in counts:
            return None
        printed = {name: sum(n for _, n in self.maps[at]) for name, at in counts.items()}
        missing = {name: count - self.arrived[name] for name, count in printed.items()}
        return {name: count for name, count in missing.items() if count > 0}

    def note(self, text: str) -> None:
        """Counts a message; beyond MESSAGES different ones only how many there are."""
        text = plain(text[:200])
        known = text in self.said or len(self.said) < MESSAGES
        self.said[text if known else "other messages"] += 1

    def has_room(self, told: list[Any]) -> bool:
        """Whether one more of these is remembered; counts those that are not."""
        has_room = len(told) < TICKS
        self.left_out += not has_room
        return has_room

    def note_unparsed(self, text: str) -> None:
        """Counts a text that could not be read, and keeps it as a message."""
        self.unparsed += 1
        self.note(UNPARSED + text)

    def messages(self, outputs: Outputs) -> list[str]:
        """Returns what bpftrace said beside the outputs, in order.

        Maps of a template's own that no output declares are among it.
        """
        fills = {name: output.kind for name, output in outputs.items()}
        found = [f"{text} ({n} times)" if n > 1 else text for text, n in self.said.items()]
        if self.unread_frames:
            found.append(f"{self.unread_frames:,} user frames {UNREAD}")
        found += self._forgotten()
        for dumps, kind in ((self.hists, "histogram"), (self.stats, "table")):
            stray = sorted(n for n, d in dumps.items() if d.entries and fills.get(n) != kind)
            found += [f"@{n}, filled by the template, is no output of kind {kind}" for n in stray]
        return found

    def _forgotten(self) -> list[str]:
        known = self.identities
        bounded: dict[str, Recent[Any, Any]] = {
            "names of processes": self.names, "threads": known.threads, "cgroups": self.cgroups,
            "address spaces' owners": known.spaces, "holders": known.holders,
            "stacks of running holders": known.running, "open waits and holds": self.seen,
            "user frames' names": self.user_frames,
        }  # fmt: skip
        found = {what: one.forgotten for what, one in bounded.items()} | {"steps": self.left_out}
        return [
            f"there were more {what} than are remembered: {count:,} were forgotten"
            for what, count in found.items()
            if count
        ]


def copied(got: Collected) -> Collected:
    """Returns a copy that takes more records, and of which the first knows nothing.

    Who is who is shared: only bpftrace's own lines tell that.
    """
    return replace(
        got, maps=dict(got.maps), hists=dict(got.hists), stats=dict(got.stats),
        arrived=got.arrived.copy(), said=got.said.copy(), seen=copy.copy(got.seen),
        ticks=list(got.ticks), steps=list(got.steps), acquired=dict(got.acquired),
    )  # fmt: skip


def collect(
    stream: Iterable[Record], takers: Mapping[str, Taker], got: Collected | None = None
) -> Collected:
    """Reads a stream's records to the end; events go to their output's taker as they come.

    What else is said is in `got` as soon as it came.
    """
    got = got or Collected()
    for record in stream:
        if type(record) is records.Events:
            got.arrived[record.output] += len(record.rows)
            takers[record.output](record.rows)
            continue
        if type(record) in NAMES:
            got.arrived[NAMES[type(record)]] += 1
        if not got.identities.note(record) and not _note_bpftrace(got, record):
            _note_own(got, record)
    return got


def _note_bpftrace(got: Collected, record: Record) -> bool:
    """Notes a record about bpftrace itself; tells whether it was one."""
    match record:
        case MapDump() | TextDump() | HistDump() | StatsDump():
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
        case _:
            return False
    return True


def _note_own(got: Collected, record: Record) -> None:
    """Notes a record of our scripts or listeners."""
    match record:
        case records.Named():
            got.names[record.pid] = record
        case records.Opened(time_ns=now):
            got.opened_ns = now
            _forget_unparsed(got)
        case records.Closed(time_ns=now):
            got.closed_ns = now
        case records.CgroupPaths(paths=paths):
            got.cgroups.update((int(identity), path) for identity, path in paths.items())
        case records.UserFrames():
            _note_frames(got, record)
        case Look():
            _note_look(got, record)
        case records.Sleepers():
            got.sleepers = record
            if record.cut and record.sleepers:
                got.note("the look at sleeping threads was cut off: there may be more")
        case Trailer():
            got.trailer = record
        case _:
            _note_rest(got, record)


def _note_frames(got: Collected, told: records.UserFrames) -> None:
    got.user_frames.update(((told.pid, address), name) for address, name in told.frames.items())
    got.unread_frames += told.unread


def _note_dropped(got: Collected, told: records.Dropped) -> None:
    got.dropped += told.lines
    got.map_full += told.map_full
    got.stack_errors += told.stack_errors


def _note_rest(got: Collected, record: Record) -> None:
    match record:
        case records.Dropped():
            _note_dropped(got, record)
        case records.Followed():
            if got.has_room(got.steps):
                got.steps.append(Step(record.since_ns, record.sample, record.ppm))
        case records.Spent(cost=cost):
            got.cost = cost
        case records.Ticked():
            if got.has_room(got.ticks):
                got.ticks.append(record)


def _keep(got: Collected, dump: bpftrace_json.Dump) -> None:
    if len(got.maps) + len(got.hists) + len(got.stats) >= MAPS:
        got.note_unparsed(f"one of more than {MAPS:,} maps")
        return
    match dump:
        case MapDump(name=records.CLOSED, entries=(("", closed_ns),)):
            got.closed_ns = closed_ns
        case MapDump():
            got.maps[dump.name] = dump.entries
        case TextDump(name=records.ACQUIRED_AT):
            got.acquired = dict(dump.entries)
        case TextDump():
            for key, value in dump.entries:
                got.note(f"@{dump.name}[{key}]: {value}" if key else f"@{dump.name}: {value}")
        case HistDump():
            got.hists[dump.name] = dump
        case StatsDump():
            got.stats[dump.name] = dump


def _note_look(got: Collected, look: Look) -> None:
    if look.failed:
        got.blind = True
        got.note(f"open waits and holds were not looked at: {look.failed}")
        return
    known = got.identities
    got.looked_ns = look.now_ns
    for span in look.spans:
        key = span.tid, span.mm, span.since_ns
        before = got.seen.get(key)
        stack = look.stacks.get(str(span.tid)) or []
        got.seen[key] = Seen(
            look.now_ns,
            span,
            known.threads.get(span.tid),
            known.spaces.get(span.mm),
            stack or (before.stack if before else []),
            _doing(span, look, stack, before.doing if before else None),
        )


def _doing(span: records.Span, look: Look, stack: list[str], before: Doing | None) -> Doing | None:
    # The rwsem may name a reader that has let go: only inside such functions it is held.
    if span.state == "wait" or not lock_frames.held(stack):
        return before
    now = Doing(look.now_ns, stack, look.faulting.get(str(span.tid)))
    return now if before is None or now.tells() > before.tells() else before


def _note_error(got: Collected, helper: str, retcode: int) -> None:
    kind = bpftrace_json.kind_of_error(helper, retcode)
    got.stack_errors += kind == "stack"
    got.map_full += kind == "full"
    if kind == "raced":
        got.raced += 1
        got.note(RACED)


def _forget_unparsed(got: Collected) -> None:
    """Before the window these are compile warnings: 0.24 to 0.26 print them among the JSON."""
    got.unparsed = 0
    got.said = Counter({t: n for t, n in got.said.items() if not t.startswith(UNPARSED)})
