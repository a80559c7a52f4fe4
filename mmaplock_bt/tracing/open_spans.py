"""Waits and holds that have not ended: looked for in bpftrace's own maps while they last."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from mmaplock_bt.errors import BpftraceError
from mmaplock_bt.spec.declaration import Locks
from mmaplock_bt.stream import lock_frames, records
from mmaplock_bt.stream.identities import Identities
from mmaplock_bt.stream.recent import Recent
from mmaplock_bt.stream.records import (
    BLOCKED,
    HOLDING,
    WAITING,
    Faulting,
    Look,
    Record,
    Span,
    Thread,
    Whose,
)
from mmaplock_bt.tracing import bpf_maps, current_stack, faulting
from mmaplock_bt.units import format_ns

BEGUN_BEFORE = {
    "all": "hold begun before the window",
    "contended": "hold begun before anybody waited",
}


@dataclass
class OpenSpans:
    """A listener that looks for open waits and holds of at least `older_ns`.

    It looks every `every_ns`, or at the end only (None). `say` prints a sentence for the user,
    where there is one.
    """

    older_ns: int
    every_ns: int | None
    say: Callable[[str], None] | None
    reads_stacks: bool = True
    locks: Locks = "all"
    identities: Identities = field(default_factory=Identities)
    found: dict[str, bpf_maps.Map] | None = None
    next_ns: int = 0
    seen_held: Recent[str, int] = field(default_factory=Recent)  # mm -> when a look saw a holder
    told_at: Recent[tuple[int, str, int], int] = field(default_factory=Recent)
    last: Look | None = None

    def hear(self, record: Record) -> Iterator[Record]:
        """Learns holders, and threads and owners where these are to be told; adds no record."""
        if self.say is not None or not isinstance(record, Thread | Whose):
            self.identities.note(record)
        yield from ()

    def told(self) -> Iterator[Record]:
        """Yields the last look again: who and whose was still on its way when it was made."""
        if self.last is not None and self.last.spans:
            late = [one for one in self._begun_before(self.last.spans) if self._still(one)]
            stacks = self.last.stacks | {str(span.tid): self._stack(span) for span in late}
            yield replace(self.last, spans=(*self.last.spans, *late), stacks=stacks)

    def patience_s(self) -> float:
        """Returns how long it may take, in s, until the next look."""
        if self.every_ns is None:
            return math.inf
        return max(0.0, (self.next_ns - time.monotonic_ns()) / 1e9)

    def look(self, bpftrace_pid: int, *, last: bool = False) -> Iterator[Record]:
        """Yields a Look where it is time for one, or `last`; prints what is new."""
        if not last and (self.every_ns is None or time.monotonic_ns() < self.next_ns):
            return
        self.next_ns = time.monotonic_ns() + (self.every_ns or 0)
        try:
            now_ns, spans = self._spans(bpftrace_pid)
            stacks = {str(span.tid): self._stack(span) for span in spans}
            faults = self._faulting(spans, stacks)
        except (BpftraceError, OSError) as error:
            yield Look(failed=str(error))
            return
        look = Look(now_ns, last, tuple(spans), stacks, faults)
        self.last = look if last else None
        yield look
        if self.every_ns is not None and self.say is not None:
            for span in spans:
                self._tell(span, look, self.say)

    def close(self) -> None:
        """Closes the maps."""
        bpf_maps.close(self.found or {})

    def _spans(self, bpftrace_pid: int) -> tuple[int, list[Span]]:
        """When it looked, and what was open then. Raises BpftraceError or OSError."""
        if self.found is None:
            needed = {HOLDING, WAITING} | ({BLOCKED} if self.locks == "contended" else set())
            self.found = bpf_maps.of_process(bpftrace_pid, needed=needed)
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)  # bpftrace's nsecs since 0.12
        maps = (self.found[name].items() for name in (HOLDING, WAITING))
        holding, waiting = maps
        if self.locks == "contended":
            holding = _of_this_queue(holding, waiting, self.found[BLOCKED].items())
        spans = list(_begun_by(now_ns - self.older_ns, holding, waiting))
        held = (records.hexadecimal(mm) for _, mm in holding)
        self.seen_held.update(dict.fromkeys(held, now_ns))
        return now_ns, spans + self._begun_before(spans)

    def _stack(self, span: Span) -> list[str]:
        """/proc shows no stack of a running thread: there the script's own sample serves."""
        sample = self.identities.running.get((span.tid, span.mm))
        sampled = sample.kernel_stack if sample and sample.time_ns >= span.since_ns else []
        now = current_stack.of_thread(span.tid) if self.reads_stacks else []
        return now if now and self._is_open(span) else sampled

    def _is_open(self, span: Span) -> bool:
        """Whether what a thread does now it still does in this span, as far as a map knows."""
        if self.found is None or span.state not in ("hold", "wait"):
            return True
        name, since = (HOLDING, _held_since) if span.state == "hold" else (WAITING, _waited_since)
        value = self.found[name].get((span.tid, int(span.mm, 16)))
        return value is not None and since(value) == span.since_ns

    def _faulting(self, spans: list[Span], stacks: dict[str, list[str]]) -> dict[str, Faulting]:
        """Who is in a page fault that a holder waits for, by the holder's thread id."""
        kept = [s for s in spans if s.state != "wait" and _waits_for_faults(stacks[str(s.tid)])]
        found = {str(span.tid): faulting.beside(span.tid) for span in kept}
        late = {str(span.tid) for span in kept if not _waits_for_faults(self._stack(span))}
        return {tid: seen for tid, seen in found.items() if seen and tid not in late}

    def _still(self, late: Span) -> bool:
        """Whether the last look did not know this holder, and who waits for it waits as it did."""
        assert self.last is not None
        waits = [s for s in self.last.spans if s.mm == late.mm and s.state == "wait"]
        known = any(s.mm == late.mm and s.state != "wait" for s in self.last.spans)
        return not known and any(self.last.stacks[str(s.tid)] == self._stack(s) for s in waits)

    def _begun_before(self, spans: Iterable[Span]) -> list[Span]:
        """Holds begun before the window, of locks that are waited for.

        The script reads the rwsem's owner word when a waiter comes and it knows no holder. What it
        named is such a hold unless a look has seen a hold of the window's since then.
        """
        found = {}
        for wait in spans:
            holder = self.identities.holders.get(wait.mm)
            known_ns = max(wait.since_ns, self.seen_held.get(wait.mm, 0))
            if holder and wait.state == "wait" and holder.time_ns >= known_ns:
                found[wait.mm] = Span(
                    BEGUN_BEFORE[self.locks], holder.tid, wait.mm, holder.mode, wait.since_ns,
                    holder.pid, holder.comm,
                )  # fmt: skip
        return list(found.values())

    def _tell(self, span: Span, look: Look, say: Callable[[str], None]) -> None:
        """Prints a span when it is first seen, and again whenever its age has doubled."""
        age_ns = look.now_ns - span.since_ns
        key = (span.tid, span.mm, span.since_ns)
        if age_ns < self.told_at.get(key, 0):
            return
        self.told_at[key] = 2 * age_ns
        thread = self.identities.threads.get(span.tid)
        comm = span.comm or (thread.comm if thread else "")
        pid = (thread.pid if thread else span.pid) or span.tid
        space = self.identities.spaces.get(span.mm)
        owner = f"{space.owner_comm or '?'}[{space.owner_pid or '?'}]" if space else "?[?]"
        doubt = ", likely," if span.comm is not None and span.mode == "read" else ""
        frames = look.stacks[str(span.tid)]
        now = f"; now in {' < '.join(frames[:3])}" if frames else ""
        fault = look.faulting.get(str(span.tid))
        now += f", for a page fault of {fault.comm}, thread {fault.tid}" if fault else ""
        say(
            f"open for {format_ns(age_ns)}: {span.mode} {span.state}{doubt} by "
            f"{comm or '?'}[{pid}] thread {span.tid} on the address space of {owner}{now}"
        )


def _waits_for_faults(stack: list[str]) -> bool:
    return lock_frames.reason(stack) == lock_frames.FAULTS


Entries = dict[tuple[int, ...], int]


def _held_since(value: int) -> int:
    return records.held(value)[0]


def _waited_since(value: int) -> int:
    return records.waited(value)[0]


def _of_this_queue(holding: Entries, waiting: Entries, blocked: Entries) -> Entries:
    """Holds that began while the queue of today was there.

    Whoever lets go when nobody queues is not seen to: an older hold may be over. Where it is not,
    the script has named it anew, when the first of this queue came.
    """
    awaited = {mm for _, mm in waiting}
    return {
        (tid, mm): value
        for (tid, mm), value in holding.items()
        if mm in awaited and records.held(value)[0] >= blocked.get((mm,), 0)
    }


# Entries made after the clock was read are newer than `until_ns` and left to the next look.
def _begun_by(until_ns: int, holding: Entries, waiting: Entries) -> Iterator[Span]:
    for (tid, mm), value in holding.items():
        since_ns, mode, _ = records.held(value)
        if since_ns <= until_ns:
            yield Span("hold", tid, records.hexadecimal(mm), mode, since_ns)
    for (tid, mm), value in waiting.items():
        since_ns, mode = records.waited(value)
        if since_ns <= until_ns:
            yield Span("wait", tid, records.hexadecimal(mm), mode, since_ns)
