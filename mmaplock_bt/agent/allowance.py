"""What tracing may take: memory, CPU time, events; and what is done where it takes more."""

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mmaplock_bt.agent.config import Limits, Pause
from mmaplock_bt.tracing.price import cpu_ns

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
EACH_NS = 5 * 10**9  # between two judgements
PATIENCE = 3  # so often in a row too dear, and nothing left to leave out
CALM = 12  # so often in a row below half of it: more is recorded again
STEP = 4  # of the floor, the length below which waits and holds are not recorded
HIGHEST_NS = 10**9
AT_EASE_NS = 600 * 10**9  # traced so long without trouble: the next pause is short again
PPM = 10**6


@dataclass(frozen=True)
class Usage:
    """What the agent and its bpftrace have taken; of a bpftrace that is gone nothing is known."""

    own_cpu_ns: int
    bpftrace_cpu_ns: int
    own_bytes: int
    bpftrace_bytes: int

    @classmethod
    def of(cls, bpftrace_pid: int | None) -> "Usage":
        """Looks at both processes; reads no file that takes a lock of theirs."""
        own = time.process_time_ns(), _resident(os.getpid())
        pid = bpftrace_pid
        traced = (0, 0) if pid is None else (cpu_ns(pid) or 0, _resident(pid))
        return cls(own[0], traced[0], own[1], traced[1])


class Allowance:
    """Judges at intervals; `floor_ns` is what it chose, and `why` in words.

    `reason` is what tracing has to stop for, or ''.
    """

    def __init__(self, limits: Limits, lowest_ns: int) -> None:
        self._limits = limits
        self._lowest_ns = self.floor_ns = lowest_ns
        self.reason = self.why = ""
        self._before: tuple[int, int, int] | None = None
        self._dear = self._calm = 0

    def judge(self, now_ns: int, usage: Usage, events: int) -> bool:
        """Judges where it is time to; tells whether it chose another floor."""
        if self._before is None:
            self._before = now_ns, _cpu(usage), events
        since_ns = now_ns - self._before[0]
        if since_ns < EACH_NS:
            return False
        _, cpu, before = self._before
        self._before = now_ns, _cpu(usage), events
        if usage.own_bytes + usage.bpftrace_bytes > self._limits.memory:
            self.reason = "memory"
            return False
        shares = {
            "cpu": (_cpu(usage) - cpu) * PPM / since_ns / self._limits.cpu,
            "events": (events - before) * 10**9 / since_ns / self._limits.events,
        }
        return self._choose(max(shares, key=shares.__getitem__), max(shares.values()))

    def _choose(self, what: str, share: float) -> bool:
        """By the larger share of what is allowed."""
        is_dear, is_calm = share > 1, share < 1 / 2
        self.why = f"{what}, {share:.0%} of what `limits` allows"
        self._dear = self._dear + 1 if is_dear else 0
        self._calm = self._calm + 1 if is_calm else 0
        before = self.floor_ns
        if is_dear and before < HIGHEST_NS:
            self.floor_ns, self._dear = min(HIGHEST_NS, before * STEP), 0
        elif is_dear and self._dear >= PATIENCE:
            self.reason = what
        elif self._calm >= CALM:
            self.floor_ns, self._calm = max(self._lowest_ns, before // STEP), 0
        return self.floor_ns != before


class Rest:
    """How long to rest after trouble: each time twice as long, until tracing went well again."""

    def __init__(self, pause: Pause) -> None:
        self._pause = pause
        self._next_ns = pause.first

    def after(self, traced_ns: int) -> int:
        """Returns the next pause, in ns; `traced_ns` is how long it had gone well."""
        if traced_ns > AT_EASE_NS:
            self._next_ns = self._pause.first
        found = min(self._next_ns, self._pause.longest)
        self._next_ns = min(2 * found, self._pause.longest)
        return found


def _cpu(usage: Usage) -> int:
    return usage.own_cpu_ns + usage.bpftrace_cpu_ns


def _resident(pid: int) -> int:
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * PAGE_BYTES
    return 0
