"""What the script has counted, and what is open now, read out of bpftrace's own maps.

Our duplicates of their descriptors outlive bpftrace: what it counted last is read after its death.
"""

import os
import time
from collections import Counter
from collections.abc import Collection, Hashable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from mmaplock_bt.errors import BpftraceError
from mmaplock_bt.stream.records import BITS, BLOCKED, BOOK, HOLDING, PRINTED, WAITING
from mmaplock_bt.tracing import bpf_maps
from mmaplock_bt.tracing.bpf_maps import Map

Counts = Counter[Hashable]  # by a map's name and its key: ("wait", 0, 4096)
Entries = dict[tuple[int, ...], int]

EVENTS = ("waits", "holds", "beats")  # of templates/_agent.bt.j2
BOOKS = tuple(BOOK + name for name in ("starts", "acquires", "failed"))
READY, FLOOR, TURN = "ready", "floor", "turn"
_SPANS = (WAITING, HOLDING, BLOCKED, READY)
_SETTINGS = (FLOOR, TURN)
# Each histogram before its sum: what is counted meanwhile is in the sum only.
_COUNTED = (
    *("wait", "wait_sum", "hold", "hold_sum"),
    *BOOKS,
    *(PRINTED + name for name in EVENTS),
)
_NAME = 12  # letters of a map's name that the kernel keeps behind bpftrace's AT_ (BPF_OBJ_NAME_LEN)
OLD_NS = 10 * 10**9  # a wait of this age is looked at: it may have ended without its event
MOST_LOOKS = 100  # at threads, in one sweep
PROC = Path("/proc")


@dataclass(frozen=True)
class Open:
    """What is open now: how long the oldest wait and hold last; when each lock's first wait began.

    A hold counts from its first waiter on; times are ns of bpftrace's clock.
    """

    now_ns: int
    hold_ns: int = 0
    wait_ns: int = 0
    since_by_mm: dict[int, int] = field(default_factory=dict)


class KernelMaps:
    """The maps of one bpftrace. Raises BpftraceError where they cannot be read."""

    def __init__(self, pid: int) -> None:
        self._counted: dict[str, Map] = {}
        self._spans: dict[str, Map] = {}
        self._suspects: dict[tuple[str, tuple[int, ...]], int] = {}
        try:
            for kind in (bpf_maps.PER_CPU_HASH, bpf_maps.PER_CPU_ARRAY):
                self._counted |= _named(pid, kind, _COUNTED)
            self._spans |= _named(pid, bpf_maps.HASH, (*_SPANS, *_SETTINGS))
            lacking = {*_COUNTED} - {*self._counted} | {*_SPANS, *_SETTINGS} - {*self._spans}
            if lacking - {READY}:  # a kernel without run_delay has no @ready
                told = ", ".join(sorted(lacking))
                raise BpftraceError(f"bpftrace has no maps of these names: {told}")
        except BaseException:
            self.close()
            raise

    def counted(self, names: Collection[str] = _COUNTED) -> Counts:
        """Returns all that was counted so far, or what these maps have."""
        found: Counts = Counter()
        for name, one in self._counted.items():
            if name not in names:
                continue
            for key, count in one.items().items():
                # A map without a key has one of 0, or (): by release.
                where = key if name in ("wait", "hold", "wait_sum", "hold_sum") else ()
                found[name, *where] += count
        return found

    def open(self) -> Open:
        """Returns what is open now."""
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)  # bpftrace's nsecs since 0.12
        return opened(now_ns, self._spans[BLOCKED].items(), self._spans[WAITING].items())

    def waiting(self) -> int:
        """Returns how many threads wait."""
        return len(self._spans[WAITING].items())

    def span(self, name: str) -> Map | None:
        """Returns one of @waiting, @ready, @holding and @blocked; None for what is not there."""
        return self._spans.get(name)

    def turns(self) -> dict[int, int]:
        """Returns whose turn it is by CPU: 0 or none before this script's own, 1 in it, 2 after."""
        return {cpu: turn for (cpu,), turn in self._spans[TURN].items().items()}

    def set_turn(self, turn: int, cpus: Iterable[int]) -> None:
        """Sets it. Raises BpftraceError."""
        try:
            for cpu in cpus:
                self._spans[TURN].put((cpu,), turn)
        except OSError as error:
            raise BpftraceError(f"bpftrace's maps cannot be written: {error}") from error

    def set_floor(self, floor_ns: int) -> None:
        """Has waits and holds below it left out of the stream. Raises OSError."""
        self._spans[FLOOR].put((0,), floor_ns)

    def sweep(self, *, sees_threads: bool = True) -> int:
        """Deletes what an event that was missed has left behind; returns how many entries.

        Only what was left over in the sweep before, too, with the same value. Raises OSError.
        """
        found = {name: self._spans[name].items() for name in _SPANS if name in self._spans}
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        left = _left_over(found, now_ns, sees_threads=sees_threads)
        again = [one for one, value in left.items() if self._suspects.get(one) == value]
        for name, key in again:
            self._spans[name].delete(key)
            del left[name, key]
        self._suspects = left
        return len(again)

    def keys(self) -> dict[str, int]:
        """Returns how many entries each map holds."""
        return {name: len(one.items()) for name, one in (self._counted | self._spans).items()}

    def close(self) -> None:
        """Closes the descriptors."""
        bpf_maps.close(self._counted)
        bpf_maps.close(self._spans)


def opened(now_ns: int, blocked: Entries, waiting: Entries) -> Open:
    """Returns what is open by the entries of @blocked and @waiting."""
    since: dict[int, int] = {}
    for (_, mm), value in waiting.items():
        began_ns = value >> BITS["WAIT_TIME"]
        since[mm] = min(began_ns, since.get(mm, began_ns))
    holds = [now_ns - blocked[mm,] for mm in since if (mm,) in blocked]
    waits = [now_ns - began_ns for began_ns in since.values()]
    return Open(now_ns, max(0, *holds, 0), max(0, *waits, 0), since)


def _left_over(
    found: dict[str, Entries], now_ns: int, *, sees_threads: bool
) -> dict[tuple[str, tuple[int, ...]], int]:
    """Entries that serve nobody, by map and key: of locks that nobody waits for, above all."""
    waiting = found[WAITING]
    awaited = {mm for _, mm in waiting}
    left = {(HOLDING, k): v for k, v in found[HOLDING].items() if k[1] not in awaited}
    left |= {(BLOCKED, k): v for k, v in found[BLOCKED].items() if k[0] not in awaited}
    left |= {(READY, k): v for k, v in found.get(READY, {}).items() if k not in waiting}
    old = {k: v for k, v in waiting.items() if now_ns - (v >> BITS["WAIT_TIME"]) > OLD_NS}
    for key in sorted(old, key=lambda one: old[one])[: MOST_LOOKS * sees_threads]:
        if not _is_asleep(key[0]):
            left[WAITING, key] = old[key]
    return left


def _is_asleep(tid: int) -> bool:
    """Whether a thread may wait for a lock: it is there, and in no sleep that a signal ends."""
    with suppress(OSError, IndexError):
        told = (PROC / str(tid) / "stat").read_text("utf-8", "replace")
        return told.rpartition(")")[2].split()[0] == "D"
    return False


def _named(pid: int, kind: int, names: tuple[str, ...]) -> dict[str, Map]:
    """Those of a kind by their names in the script, which the kernel has cut off."""
    whole = {name[:_NAME]: name for name in names}
    found: dict[str, Map] = {}
    for told, one in bpf_maps.of_process(pid, kind).items():
        name = whole.get(told[:_NAME])
        if name is None or name in found:
            os.close(one.descriptor)
        else:
            found[name] = one
    return found
