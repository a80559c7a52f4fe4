"""From events to lines: the window, the filters, who and whose, the blocks of an analysis.

What templates/_mmap_lock.bt.j2 is for bpftrace.
"""

from collections.abc import Callable, Iterable
from typing import Any

from mmaplock_bt.script import blocks
from mmaplock_bt.script.plan import Plan
from mmaplock_bt.spec.columns import MODES
from mmaplock_bt.stream import records
from mmaplock_bt.stream.memo import Memo
from mmaplock_bt.stream.recent import Recent
from mmaplock_bt.stream.records import KINDS, Dropped, Look, Span
from mmaplock_bt.tracefs import owners, printed
from mmaplock_bt.tracefs.kernel_symbols import KernelSymbols
from mmaplock_bt.tracefs.owners import FORK_CHILD, NOBODY, TEARDOWN, Owner, Owners
from mmaplock_bt.tracefs.pages import (
    CGROUP,
    KIND,
    MM,
    MODE,
    STACK,
    TID,
    TIME,
    Event,
)
from mmaplock_bt.tracefs.printed import Lines
from mmaplock_bt.tracefs.spans import Spans
from mmaplock_bt.tracefs.tallies import Parties, Tallies
from mmaplock_bt.tracefs.threads import Threads

OPEN, CLOSE = b"mmaplock-bt/on", b"mmaplock-bt/off"  # names that the tool gives itself
MET_NS = 10_000  # a wait of this length met somebody: the lock's own words are not seen
# What only bpftrace tells, as it tells it where the kernel does not.
_UNTOLD = dict.fromkeys(("cpu_wait_ns", "short_ns", "watched", "preempted_ns", "asleep_ns"), 0)
StackOf = Callable[[int], list[str]]


class Engine(Parties):
    """Takes events in the order of their times; `lines` gets what there is to print.

    `tool` is the process that opens and closes the window, whose locks and those of `tracer` are
    left out. `root` is the process whose tree is traced where the plan says so. `stack_of` reads a
    thread's kernel stack.
    """

    def __init__(
        self, plan: Plan, tracer: int, tool: int, root: int, stack_of: StackOf = lambda _: []
    ) -> None:
        self.plan = plan
        self.lines = Lines()
        self.threads = Threads()
        self.owners = Owners(self.threads)
        self.symbols = KernelSymbols()
        self.opened_ns: int | None = None
        self.closed_ns: int | None = None
        self.unowned = 0  # waits and holds of which it was not known whose they are
        self.comm = b""
        self.frames: list[str] = []
        self._own = {tracer, tool}
        self._tool = tool
        self._stack_of = stack_of
        self._named: Recent[int, None] = Recent()
        self._cgroups: Recent[int, int] = Recent()  # process -> its cgroup
        self._names = Memo[tuple[int, ...], list[str]](self._framed)
        self._shown = Memo[tuple[int, ...], str](lambda stack: owners.shown(self._names[stack]))
        given = plan.filter.actor
        self._pids = frozenset() if given.descendants else frozenset(given.pids)
        self._comms = frozenset(comm.encode() for comm in given.comms)
        self._trees = [{root}] * plan.tree + [set(given.pids)] * given.descendants
        self._tallies = Tallies(plan, self.lines, self)
        self._blocks = {
            name: blocks.parse(text, self._tallies.record).run for name, text in plan.texts.items()
        }
        self.spans = Spans(
            plan.waits, plan.holds, self._in_scope,
            self._wait_began, self._wait_ended, self._hold_began, self._hold_ended,
        )  # fmt: skip
        self._values: dict[str, int] = dict(_UNTOLD)
        self._takes: list[Callable[[Event], None]] = [
            self.spans.start, self._acquired, self._released, self._new, self._renamed,
            self._executed, self._exited, self._gap,
        ]  # fmt: skip

    def include(self, pids: Iterable[Iterable[int]]) -> None:
        """Adds what is below the roots already, a set for each of them."""
        for tree, more in zip(self._trees, pids, strict=True):
            tree.update(more)

    @property
    def roots(self) -> list[frozenset[int]]:
        """The processes whose descendants are meant."""
        return [frozenset(tree) for tree in self._trees]

    def take(self, events: Iterable[Event]) -> None:
        """Takes events, the oldest first."""
        takes = self._takes
        for event in events:
            if self.closed_ns is None:
                takes[event[KIND]](event)

    def look(self, now_ns: int, *, last: bool = False) -> None:
        """Says what is open for long enough, with threads and owners, as a Look."""
        if self.plan.watch is None or self.opened_ns is None:
            return
        until_ns = now_ns - self.plan.watch[0]
        holds = [(key, one[0], one[1], "hold") for key, one in self.spans.holding.items()]
        waits = [(key, *one, "wait") for key, one in self.spans.waiting.items()]
        spans = []
        for (tid, mm), began_ns, mode, state in holds + waits:
            if began_ns <= until_ns:
                self._tell_parties(tid, mm)
                label = MODES[mode]
                spans.append(Span(state, tid, records.hexadecimal(mm), label, began_ns))
        stacks = {str(span.tid): self._stack_of(span.tid) for span in spans}
        self.lines.own(Look(now_ns, last, tuple(spans), stacks).line())

    def end(self, lost: int) -> None:
        """Says what was counted; `lost` is how many events there was no room for."""
        if lost:
            self.lines.message("lost_events", {"events": lost})
        if self._tallies.full:
            self.lines.own(Dropped(0, self._tallies.full).line())
        self.lines.maps(self._tallies.maps())
        self.lines.last_maps(self.spans, self.plan.books, self.closed_ns)

    def process(self, pid: int) -> bytes:
        """Returns a process's name; b'' where there is no process."""
        return self.threads.of(pid).comm if pid else b""

    def learn(self, pid: int) -> None:
        """Says a process's name and cgroup, once."""
        if pid and pid not in self._named:
            self._named[pid] = None
            comm = printed.text(self.process(pid))
            self.lines.told("name", pid=pid, cgroup=self._cgroups.get(pid, 0), comm=comm)

    def _in_scope(self, event: Event) -> bool:
        thread = self.threads.of(event[TID])
        pid, mode = thread.pid, self.plan.filter.mode
        return (
            self.opened_ns is not None
            and pid not in self._own
            and (mode != "write" or bool(event[MODE]))
            and (not self._pids or pid in self._pids)
            and (not self._comms or thread.comm in self._comms)
            and all(pid in tree for tree in self._trees)
            and (self.plan.cgroups is None or event[CGROUP] in self.plan.cgroups)
        )

    def _acquired(self, event: Event) -> None:
        self._owner = self._meet(event) if event[STACK] else None
        self.spans.acquired(event)
        self._owner = None

    def _released(self, event: Event) -> None:
        self._owner = self._meet(event) if event[STACK] else None
        self.spans.released(event)
        self._owner = None

    _owner: Owner | None = None

    def _meet(self, event: Event) -> Owner:
        tid, mm = event[TID], event[MM]
        what = self._shown[event[STACK]]
        if what == "fork" and not self.plan.holds:
            what = ""  # parent's or child's: what else the thread holds would tell
        is_inner = what == "fork" and any(t == tid and m != mm for t, m in self.spans.holding)
        actor = self.threads.of(tid).pid
        owner = self.owners.met(mm, actor, what, is_inner=is_inner)
        if what in ("own", "new image") and event[CGROUP]:
            self._cgroups[owner.pid] = event[CGROUP]
        return owner

    def _wait_began(self, event: Event) -> None:
        self._run("wait_began", event, {})

    def _wait_ended(self, event: Event, began_ns: int) -> None:
        wait_ns = max(0, event[TIME] - began_ns)
        met = int(wait_ns >= MET_NS)
        self._run("wait_ended", event, {"wait_ns": wait_ns, "began": began_ns, "contended": met})

    def _hold_began(self, event: Event, asked_ns: int | None) -> None:
        wait = {"wait_ns": event[TIME] - asked_ns, "began": asked_ns} if asked_ns else {}
        self._run("hold_began", event, wait)

    def _hold_ended(self, event: Event, began_ns: int, mode: int) -> None:
        self._run("hold_ended", event, {"hold_ns": max(0, event[TIME] - began_ns)}, mode)

    def _run(self, block: str, event: Event, more: dict[str, int], mode: int | None = None) -> None:
        mode = event[MODE] if mode is None else mode
        only = self.plan.filter.mode
        if only is not None and mode != KINDS["mode"][only]:
            return
        tid, mm = event[TID], event[MM]
        thread = self.threads.of(tid)
        owner = self._owner or self.owners.of(mm, thread.pid)
        self.unowned += owner is NOBODY
        cgroup = event[CGROUP]
        if owner.kind in (FORK_CHILD, TEARDOWN):  # the event tells the root's
            cgroup = self._cgroups.get(owner.pid, cgroup)
        self.comm = thread.comm
        if event[STACK]:
            self.frames = self._names[event[STACK]]
        else:
            self.frames = []
        self._blocks[block]({
            **_UNTOLD, **more, "now": event[TIME], "mm": mm, "tid": tid, "mode": mode,
            "actor_pid": thread.pid, "actor_kind": int(thread.pid in self.threads.kernel),
            "owner_pid": owner.pid, "owner_kind": owner.kind, "cgroup": cgroup,
        })  # fmt: skip

    def _framed(self, stack: tuple[int, ...]) -> list[str]:
        return [self.symbols.name(address) for address in stack]

    def _tell_parties(self, tid: int, mm: int) -> None:
        thread = self.threads.of(tid)
        owner = self.owners.of(mm, thread.pid) if thread.pid else NOBODY
        kind = int(thread.pid in self.threads.kernel)
        comm, name = printed.text(thread.comm), printed.text(self.process(owner.pid))
        self.lines.told("thread", tid=tid, pid=thread.pid, actor_kind=kind, comm=comm)
        self.lines.told(
            "whose", mm=f"{mm:x}", owner_pid=owner.pid, owner_kind=owner.kind,
            cgroup=self._cgroups.get(owner.pid, 0), owner_comm=name,
        )  # fmt: skip

    def _new(self, event: Event) -> None:
        _, _, by, tid, comm, flags = event
        parent = self.threads.of(by).pid
        if self.threads.new(by, tid, comm, flags) is None:
            return
        self.owners.began(tid)
        self._named.pop(tid, None)
        if parent in self._cgroups:
            self._cgroups[tid] = self._cgroups[parent]
        for tree in self._trees:
            if parent in tree:
                tree.add(tid)

    def _renamed(self, event: Event) -> None:
        now_ns, _, by, tid, comm = event
        self.threads.named(tid, comm)
        self._named.pop(tid, None)
        if self.threads.of(by).pid != self._tool:
            return
        name = comm.split(b"\0", 1)[0]
        if name == OPEN and self.opened_ns is None:
            self.opened_ns = now_ns
            self.lines.told("open", time_ns=now_ns)
        elif name == CLOSE and self.opened_ns is not None:
            self.look(now_ns, last=True)
            self.closed_ns = now_ns
            self.lines.told("close", time_ns=now_ns)

    def _executed(self, event: Event) -> None:
        _, _, _, tid, before = event
        self.threads.executed(tid, before)
        self.owners.executed(tid)

    def _exited(self, event: Event) -> None:
        tid = event[3]
        if self.threads.of(tid).pid == tid:
            self.owners.exited(tid)
        self.threads.ended(tid)

    def _gap(self, _event: Event) -> None:
        self.spans.forget()


def is_stack_asked(plan: Plan) -> dict[str, str]:
    """Returns which events' stacks are asked for, each with the condition of its trigger."""
    asked: dict[str, Any] = {}
    if "hold_ended" in plan.stacks_of:
        asked["released"] = ""
        asked["acquire_returned"] = "write == 0"  # a downgrade is one
    if plan.stacks_of & {"wait_ended", "hold_began"}:
        asked["acquire_returned"] = ""
    if "wait_began" in plan.stacks_of:
        asked["start_locking"] = ""
    return asked
