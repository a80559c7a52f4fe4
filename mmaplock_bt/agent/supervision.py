"""Keeps one bpftrace tracing: starts it, ends it when it takes too much, starts it again.

The main thread runs it; whoever answers a scrape asks for a Snapshot from another.
"""

import select
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

from mmaplock_bt.agent.allowance import Allowance, Rest, Usage
from mmaplock_bt.agent.captures import Captures, Example
from mmaplock_bt.agent.cgroup_labels import CgroupLabels
from mmaplock_bt.agent.charging import Blamed, Charging
from mmaplock_bt.agent.config import Config
from mmaplock_bt.agent.kernel_maps import Counts, Open
from mmaplock_bt.agent.session import SILENT_NS, Session, profile
from mmaplock_bt.agent.top_names import TopNames
from mmaplock_bt.errors import BpftraceError, Failure, Interrupted
from mmaplock_bt.machine.inventory import Machine
from mmaplock_bt.tracing import ending
from mmaplock_bt.units import format_ns

TICK_NS, SWEEP_NS = 10**9, 10 * 10**9
READ_S = 0.5
_RELOAD = "reload"
START_NS = 120 * 10**9  # so long a bpftrace may take to start
STUCK_NS = 30 * 10**9  # a bpftrace that is silent for so long is ended
# Why nothing is traced, by the names that a metric tells.
REASONS = {
    "starting": "bpftrace is being started",
    "refused": "bpftrace did not start",
    "died": "bpftrace ended by itself",
    "silent": "bpftrace passes nothing on",
    "unreadable": "bpftrace's maps cannot be read",
    "memory": "tracing took more memory than `limits.memory`",
    "cpu": "tracing took more CPU time than `limits.cpu`",
    "events": "more was recorded than `limits.events`",
    "ending": "the agent ends",
}


@dataclass(frozen=True)
class Tracing:
    """What is known while bpftrace traces; counts are of all bpftraces since the agent's start."""

    counts: Counts
    blamed_ns: dict[Blamed, int]
    convoys: int
    open: Open
    residue: int | None
    floor_ns: int
    example: Example | None = None


@dataclass(frozen=True)
class Snapshot:
    """What a scrape is answered with; `tracing` is None, and `reason` why, while nothing traces."""

    tracing: Tracing | None
    reason: str
    lost_events: int
    map_full: int
    missing_stacks: int
    unparsed_lines: int
    restarts: int
    swept_entries: int
    usage: Usage
    captures: int = 0
    reloads: int = 0


@dataclass(frozen=True)
class Owner:
    """Who runs it; all is called by the thread that traces.

    `live` when tracing has begun; `alive` after every tick that was parsed, and while tracing
    rests; `asked` returns a configuration that is to be followed, once, or None; `answered` is
    told what became of it: '', or why the one before goes on.
    """

    live: Callable[[], None]
    alive: Callable[[], None]
    asked: Callable[[], Config | None] = lambda: None
    answered: Callable[[Config, str], None] = lambda _config, _why: None


@dataclass
class _Ended:
    """What bpftraces that are gone had counted."""

    counts: Counts = field(default_factory=Counter)
    lost: int = 0
    map_full: int = 0
    unparsed: int = 0
    cpu_ns: int = 0


class Supervision:
    """Traces until a signal comes; `say` prints a sentence for the log."""

    def __init__(self, config: Config, machine: Machine, say: Callable[[str], None]) -> None:
        self.config = config
        self.machine = machine
        self._say = say
        self._lock = threading.RLock()
        names = TopNames(config.culprits.names, config.culprits.top)
        self._charging = Charging(names, CgroupLabels(config.cgroups))
        self._tell_lacking()
        self._session: Session | None = None
        self._leaving: Session | None = None  # what it has lost counts until it is added up
        self._reason = "starting"
        self._ended = _Ended()
        self._rest = Rest(config.pause)
        self._captures = Captures(config.trap, machine.path, say)
        self._next: Config | None = None
        self._floor_ns = config.threshold
        self._bpftrace_cpu_ns = self._starts = self._reloads = self._swept = 0
        self._due_ns = time.monotonic_ns() + START_NS
        self._sweep_ns = 0

    def run(self, owner: Owner) -> None:
        """Returns once a signal asked for the end.

        Raises what entering a Session raises, where the first bpftrace does not even start.
        """
        self._owner = owner
        try:
            self._run()
        finally:
            self._captures.close()

    def _run(self) -> None:
        while not ending.noted():
            began_ns = time.monotonic_ns()
            detail = self._trace()
            if ending.noted():
                break
            pause_ns = self._rest.after(time.monotonic_ns() - began_ns)
            self._due_ns = time.monotonic_ns() + pause_ns + START_NS
            what = f"{REASONS[self._reason]}{f' ({detail})' if detail else ''}"
            self._say(f"{what}: nothing is traced for {format_ns(pause_ns)}, then again")
            self._pause(pause_ns)
        self._reason = "ending"

    def snapshot(self) -> Snapshot:
        """Looks at this moment; never tells what is not counted any more as if it were."""
        with self._lock:
            session, reason = self._session, self._reason
            tracing = None
            if session is not None and not (reason := _fault(session)):
                try:
                    tracing = self._tracing(session)
                except (BpftraceError, OSError):
                    reason = "unreadable"
            return self._told(session, tracing, reason)

    def health(self) -> tuple[bool, str]:
        """Tells whether ticks are parsed, or tracing rests as it should; and which it is."""
        with self._lock:
            if self._session is None:
                return time.monotonic_ns() < self._due_ns, f"nothing is traced: {self.reason}"
            silent_ns = self._session.silent_ns
            told = f"the latest tick was parsed {format_ns(silent_ns)} ago"
            return silent_ns <= SILENT_NS, told

    @property
    def is_ready(self) -> bool:
        """Whether all probes are attached, now."""
        with self._lock:
            one = self._session
            return one is not None and one.is_alive and one.is_complete

    @property
    def reason(self) -> str:
        """Why nothing is traced, in words; '' while it is."""
        with self._lock:
            found = self._reason if self._session is None else _fault(self._session)
            return REASONS[found] if found else ""

    def _tell_lacking(self) -> None:
        """A cgroup may come later, or be misspelt."""
        for path in self._charging.cgroups.lacking():
            self._say(f"there is no memory cgroup {path}; its waits are told once it is there")

    def _trace(self) -> str:
        """Runs one bpftrace to its end; returns what else is known of why it ended."""
        self._reason = "starting"
        try:
            with ExitStack() as own:
                session = own.enter_context(self._made(self.config))
                with self._lock:
                    self._begin(session)
                self._owner.live()
                while (reason := self._watch(session)) == _RELOAD:
                    session = self._reloaded(session, own)
                return self._end(session, reason)
        except Interrupted:
            return ""
        except Failure as error:
            if not self._starts:
                raise
            with self._lock:
                self._session, self._reason = None, "refused"
            return str(error).partition("\n")[0]

    def _made(self, config: Config, meanwhile: Callable[[], object] | None = None) -> Session:
        lengths = {"threshold": config.threshold, "behind": config.behind}
        return Session(profile(lengths), self.machine, self._charging, meanwhile)

    def _begin(self, session: Session) -> None:
        self._session = session
        self._starts += 1
        self._allowance = Allowance(self.config.limits, self.config.threshold)
        self._floor_ns = self._allowance.floor_ns
        self._sweep_ns = self._tick_ns = time.monotonic_ns()

    def _watch(self, session: Session) -> str:
        """Returns why it has to end, or _RELOAD."""
        while not ending.noted():
            if reason := self._step(session, READ_S):
                return reason
            self._next = self._owner.asked()
            if self._next is not None:
                return _RELOAD
        return "ending"

    def _step(self, session: Session, timeout_s: float) -> str:
        """Reads once; returns why it has to end, or ''."""
        records, before_ns = session.read(timeout_s), session.beat_ns
        try:
            with self._lock:
                session.hear(records)
                self._tick(session)
        except (BpftraceError, OSError):
            return "unreadable"
        if session.beat_ns != before_ns:
            self._owner.alive()
        if not session.keeps_alive():
            return "died"
        return "silent" if session.silent_ns > STUCK_NS else self._allowance.reason

    def _reloaded(self, old: Session, own: ExitStack) -> Session:
        """Returns the session that traces from now on: a new one, or the old one goes on.

        That is looked after while the new bpftrace starts, and ended once it counts no more.
        """
        config = self._next
        assert config is not None
        try:
            with ExitStack() as fresh:
                new = fresh.enter_context(self._made(config, lambda: self._step(old, 0)))
                self._hand_over(old, new, config)
                ending_new = fresh.pop_all()
        except Interrupted:
            return old
        except (Failure, OSError) as error:
            self._owner.answered(config, str(error).partition("\n")[0])
            return old
        self._take_rest(old)
        own.close()
        own.push(ending_new)
        self._owner.answered(config, "")
        return new

    def _hand_over(self, old: Session, new: Session, config: Config) -> None:
        with self._lock:
            self._ended.counts += new.succeed(old)
            self._keep_cpu(old)
            self._follow(config)
            self._leaving = old
            self._reloads += 1
            self._begin(new)

    def _follow(self, config: Config) -> None:
        """Does as another configuration says from now on; what was counted stays."""
        self.config = config
        self._charging.follow(config.culprits.names, config.culprits.top, config.cgroups)
        self._tell_lacking()
        self._rest = Rest(config.pause)
        self._captures.follow(config.trap)

    def _tick(self, session: Session) -> None:
        """Once in TICK_NS, while bpftrace runs."""
        if time.monotonic_ns() < self._tick_ns or not session.is_alive:
            return
        self._tick_ns = time.monotonic_ns() + TICK_NS
        counts, _ = session.counted()
        now = session.tick(counts)
        longest = session.longest(now)
        self._captures.look(longest)
        now_ns = time.monotonic_ns()
        if self._allowance.judge(now_ns, self._usage(session), session.events):
            self._raise_floor(session, self._allowance.floor_ns)
        if now_ns - self._sweep_ns >= SWEEP_NS:
            self._sweep_ns = now_ns
            self._swept += session.sweep()

    def _raise_floor(self, session: Session, floor_ns: int) -> None:
        self._floor_ns = floor_ns
        session.maps.set_floor(floor_ns)
        told = f"from now on waits and holds of {format_ns(floor_ns)} and more are recorded"
        self._say(f"{told} ({self._allowance.why})")

    def _end(self, session: Session, reason: str) -> str:
        """Takes all that it had counted, so that counters go on from there."""
        with self._lock:
            self._keep_cpu(session)
            self._session, self._leaving, self._reason = None, session, reason
        counts = self._take_rest(session)
        with self._lock:
            self._charging.settle(2**63, {})
            self._ended.counts += counts
        return session.why() if reason == "died" else ""

    def _keep_cpu(self, session: Session) -> None:
        self._bpftrace_cpu_ns = max(self._bpftrace_cpu_ns, self._usage(session).bpftrace_cpu_ns)
        self._ended.cpu_ns = self._bpftrace_cpu_ns

    def _take_rest(self, session: Session) -> Counts:
        """Ends the one that is leaving; returns all that it had counted."""
        rest = session.stop()
        with self._lock:
            counts = session.end(rest)
            self._leaving = None
            self._ended.lost += session.lost
            self._ended.map_full += session.full
            self._ended.unparsed += session.unparsed
        return counts

    def _pause(self, pause_ns: int) -> None:
        """Short steps: a signal is no descriptor. Another configuration is tried at once."""
        until_ns = time.monotonic_ns() + pause_ns
        while not ending.noted() and (left_ns := until_ns - time.monotonic_ns()) > 0:
            select.select([], [], [], min(READ_S, left_ns / 1e9))
            self._owner.alive()
            if (config := self._owner.asked()) is not None:
                with self._lock:
                    self._follow(config)
                self._owner.answered(config, "")
                return

    def _tracing(self, session: Session) -> Tracing:
        counts, residue = session.counted()
        now = session.tick(counts)
        return Tracing(
            self._ended.counts + counts, dict(self._charging.blamed_ns), self._charging.convoys,
            now, residue, self._floor_ns, self._captures.last,
        )  # fmt: skip

    def _told(self, session: Session | None, tracing: Tracing | None, reason: str) -> Snapshot:
        gone, now = self._ended, [one for one in (session, self._leaving) if one is not None]
        return Snapshot(
            tracing,
            reason,
            gone.lost + sum(one.lost for one in now),
            gone.map_full + sum(one.full for one in now),
            self._charging.stackless,
            gone.unparsed + sum(one.unparsed for one in now),
            max(0, self._starts - 1 - self._reloads),
            self._swept,
            self._usage(session),
            self._captures.count,
            self._reloads,
        )

    def _usage(self, session: Session | None) -> Usage:
        """bpftrace's CPU time with that of those before it; never less than was told."""
        found = Usage.of(session.pid if session is not None and session.is_alive else None)
        total_ns = self._ended.cpu_ns + found.bpftrace_cpu_ns
        self._bpftrace_cpu_ns = max(self._bpftrace_cpu_ns, total_ns)
        return Usage(found.own_cpu_ns, self._bpftrace_cpu_ns, found.own_bytes, found.bpftrace_bytes)


def _fault(session: Session) -> str:
    """Why what it says would not be of this moment; '' where it is."""
    if not session.is_alive:
        return "died"
    return "silent" if session.silent_ns > SILENT_NS else ""
