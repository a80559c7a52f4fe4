"""Waits and holds that have not ended: looked for while they last, in bpftrace's own maps."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mmaplock_bt.errors import BpftraceError
from mmaplock_bt.spec.columns import MODES
from mmaplock_bt.stream import bpftrace_json, stacks
from mmaplock_bt.stream.identities import NAMES, Parties
from mmaplock_bt.tracing import bpf_maps

RECORD = "mmaplock-bt-open"
ACQUIRED = "acquired_at"  # a template's map of stacks by (tid, mm), kept while the hold lasts
LATE = 8  # flag in a @holding value: asked for before the window
Span = dict[str, Any]


@dataclass
class Outstanding:
    """Polls a running bpftrace. `older_ns` 0 takes every span, `every_ns` None looks only last."""

    older_ns: int
    every_ns: int | None
    say: Callable[[str], None]
    reads_stacks: bool = True
    parties: Parties = field(default_factory=Parties)
    found: dict[str, bpf_maps.Map] | None = None
    next_ns: int = 0
    seen_held: dict[int, int] = field(default_factory=dict)  # mm -> when a look saw a holder
    told: dict[tuple[int, int, int], int] = field(default_factory=dict)

    def watch(self, lines: Iterable[str]) -> Iterator[str]:
        """Passes the stream on and learns who is who."""
        for line in lines:
            for record in bpftrace_json.printed(line, NAMES):
                self.parties.learn(record)
            yield line

    def poll(self, bpftrace_pid: int, *, last: bool = False) -> Iterator[str]:
        """A line of the raw stream when it is time (or the last time); tells what is new."""
        if not last and (self.every_ns is None or time.monotonic_ns() < self.next_ns):
            return
        try:
            if self.found is None:
                self.found = bpf_maps.of(bpftrace_pid)
            now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)  # bpftrace's nsecs since 0.12
            holding, waiting = (self.found[name].items() for name in ("holding", "waiting"))
        except (BpftraceError, OSError) as error:
            yield json.dumps({"type": RECORD, "failed": str(error)})
            self.next_ns = time.monotonic_ns() + (self.every_ns or 0)
            return
        spans = list(_spans(holding, waiting, now_ns - self.older_ns))
        self.seen_held |= dict.fromkeys((mm for _, mm in holding), now_ns)
        spans += self._begun_before(spans)
        seen = {span["tid"]: self._stack(span) for span in spans}
        yield json.dumps(
            {"type": RECORD, "now_ns": now_ns, "last": last, "spans": spans, "stacks": seen}
        )
        if self.every_ns is not None:
            self.next_ns = time.monotonic_ns() + self.every_ns
            for span in spans:
                self._tell(span, now_ns, seen[span["tid"]])

    def close(self) -> None:
        bpf_maps.close(self.found or {})

    def _stack(self, span: Span) -> list[str]:
        """Of a running thread /proc shows none: there the script's own sample serves."""
        sample = self.parties.running.get((span["tid"], span["mm"]))
        fresh = sample is not None and sample["time_ns"] >= span["since_ns"]
        now = stacks.now(span["tid"]) if self.reads_stacks else []
        return now or (sample["stack"] if sample and fresh else [])

    def _begun_before(self, waits: list[Span]) -> list[Span]:
        """Holds of locks that are waited for, of which no look saw a holder since it was named.

        The rwsem's owner word is read when a waiter comes, where no hold of the window's is known.
        """
        found = {}
        for span in waits:
            told = self.parties.holders.get(span["mm"])
            if (
                told
                and span["state"] == "wait"
                and told["time_ns"] >= max(span["since_ns"], self.seen_held.get(span["mm"], 0))
            ):
                found[span["mm"]] = {
                    "state": "hold begun before the window", "tid": told["tid"],
                    "pid": told["pid"], "comm": told["comm"],
                    "mm": span["mm"], "mode": told["mode"], "since_ns": span["since_ns"],
                }  # fmt: skip
        return list(found.values())

    def _tell(self, span: Span, now_ns: int, frames: list[str]) -> None:
        """One sentence when a span is first seen, and again whenever its age has doubled."""
        age_ns = now_ns - span["since_ns"]
        key = (span["tid"], span["mm"], span["since_ns"])
        if age_ns < self.told.get(key, 0):
            return
        self.told[key] = 2 * age_ns
        thread = self.parties.threads.get(span["tid"], {"pid": span.get("pid")})
        space = self.parties.spaces.get(span["mm"], {})
        actor = f"{span.get('comm') or thread.get('comm') or '?'}[{thread['pid'] or span['tid']}]"
        owner = f"{space.get('owner_comm') or '?'}[{space.get('owner_pid') or '?'}]"
        now = f"; now in {' < '.join(frames[:3])}" if frames else ""
        self.say(
            f"open for {age_ns / 1e9:.1f} s: {span['mode']} {span['state']} by {actor} thread "
            f"{span['tid']} on the address space of {owner}{now}"
        )


Entries = dict[tuple[int, ...], int]


def _spans(holding: Entries, waiting: Entries, until_ns: int) -> Iterator[Span]:
    """Those that began by then; see the base template for what the values hold."""
    for (tid, mm), value in holding.items():
        if value >> 4 <= until_ns:
            yield {"state": "hold", "tid": tid, "mm": mm, "mode": MODES[value & 1],
                   "since_ns": value >> 4}  # fmt: skip
    for (tid, mm), value in waiting.items():
        if value >> 1 <= until_ns:
            yield {"state": "wait", "tid": tid, "mm": mm, "mode": MODES[value & 1],
                   "since_ns": value >> 1}  # fmt: skip
