"""How histograms grow while the window is open, read in steps out of bpftrace's own maps.

The script counts on as ever, so a lock pays nothing for it; nothing is cleared, so nothing is lost.
"""

import math
import time
from collections import Counter
from collections.abc import Iterator

from mmaplock_bt.errors import BpftraceError
from mmaplock_bt.spec.outputs import Outputs
from mmaplock_bt.stream.records import Opened, Record, Ticked
from mmaplock_bt.tracing import bpf_maps

FIRST_STEP_NS = 50_000_000
MOST = 120  # steps; a longer window has longer ones, so that all looks together cost it little


class Timeline:
    """A listener that tells every step what each histogram has counted in it, by mode and bucket.

    After MOST steps a step takes twice as long, and so on: the earlier ones count as half as many.
    """

    def __init__(self, outputs: Outputs) -> None:
        keys = {
            name: [column.name for column in output.columns]
            for name, output in outputs.items()
            if output.kind == "histogram"
        }
        # Where the mode is in a key, behind which comes the bucket, and how long the key is.
        self._places = {
            name: (found.index("mode"), len(found) + 1)
            for name, found in keys.items()
            if "mode" in found
        }
        self._maps: dict[str, bpf_maps.Map] | None = None
        self._before: dict[str, Counter[tuple[int, int]]] = {}
        self._step_ns = FIRST_STEP_NS
        self._steps = 0
        self._next_ns: float = math.inf

    def hear(self, record: Record) -> Iterator[Record]:
        """Begins with the window; adds no record."""
        if isinstance(record, Opened) and self._places:
            self._next_ns = time.monotonic_ns() + self._step_ns
        yield from ()

    def patience_s(self) -> float:
        """Returns how long it may take, in s, until the next step."""
        return max(0.0, (self._next_ns - time.monotonic_ns()) / 10**9)

    def look(self, bpftrace_pid: int) -> Iterator[Record]:
        """Yields a Ticked where a step is over. Where maps cannot be read no step ends any more."""
        if time.monotonic_ns() < self._next_ns:
            return
        try:
            now_ns, counts = self._counts(bpftrace_pid)
        except (BpftraceError, OSError):
            self._next_ns = math.inf
            return
        grown = {name: now - self._before.get(name, Counter()) for name, now in counts.items()}
        self._before = counts
        self._plan()
        yield Ticked(now_ns, {name: _flat(one) for name, one in grown.items() if one})

    def close(self) -> None:
        """Closes the maps."""
        bpf_maps.close(self._maps or {})

    def _plan(self) -> None:
        self._steps += 1
        if self._steps == MOST:
            self._steps //= 2
            self._step_ns *= 2
        self._next_ns = time.monotonic_ns() + self._step_ns

    def _counts(self, bpftrace_pid: int) -> tuple[int, dict[str, Counter[tuple[int, int]]]]:
        """When it was read, and for each histogram counts by (mode, lower end of a bucket)."""
        if self._maps is None:
            self._maps = bpf_maps.of_process(bpftrace_pid, bpf_maps.PER_CPU_HASH, set(self._places))
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)  # bpftrace's nsecs since 0.12
        found: dict[str, Counter[tuple[int, int]]] = {}
        for name, one in self._maps.items():
            place, words = self._places[name]
            counts = found[name] = Counter()
            if one.key_bytes == 8 * words:  # else a template fills it with its own hist()
                for key, count in one.items().items():
                    counts[key[place], key[-1]] += count
        return now_ns, found


def _flat(counts: Counter[tuple[int, int]]) -> list[list[int]]:
    return [[mode, lower, count] for (mode, lower), count in sorted(counts.items())]
