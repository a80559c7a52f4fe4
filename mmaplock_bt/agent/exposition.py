"""A snapshot as metric families, written as Prometheus or OpenMetrics asks for them."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    Exemplar,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from mmaplock_bt import __version__
from mmaplock_bt.agent.kernel_maps import Counts
from mmaplock_bt.agent.supervision import REASONS, Snapshot, Tracing
from mmaplock_bt.machine.inventory import Machine
from mmaplock_bt.spec.columns import MODES

NS = 10**9
FRESH_NS = 200 * 10**6
FIRST_BIT, LAST_BIT = 10, 37  # buckets up to 1.02 us, 2.05 us, ... and 137 s
_SPANS = {
    "wait": "Time that threads waited for mmap_lock in its queue, all of them.",
    "hold": "Time that mmap_lock was held while somebody waited for it, from the first waiter on; "
    "holds that nobody waited for are not there.",
}


_COUNTED = {
    "lost_events": "Waits and holds that were recorded and did not come.",
    "map_full": "How often a map in the kernel had no room.",
    "missing_stacks": "Holds whose kernel stack did not come: their cause is unknown.",
    "unparsed_lines": "Lines of bpftrace that were not understood.",
    "restarts": "How often another bpftrace was started because there was one no more.",
    "reloads": "How often another bpftrace took over with a configuration that was read anew.",
    "swept_entries": "Entries that a missed event had left behind in the kernel's maps.",
    "captures": "Captures that the trap has made.",
}


class _Families(Collector):
    def __init__(self, found: Iterable[Metric]) -> None:
        self._found = list(found)

    def collect(self) -> Iterable[Metric]:
        return self._found


class Page:
    """What is answered, made anew unless it is younger than FRESH_NS: whoever asks costs little.

    `told` returns the metrics.
    """

    def __init__(self, told: Callable[[], Iterable[Metric]]) -> None:
        self._told = told
        self._lock = threading.Lock()
        self._made: dict[str, tuple[int, bytes]] = {}  # when, and the text, by its kind

    def rendered(self, accept: str) -> tuple[bytes, str]:
        """Returns the text and its content type, of the kinds that the header Accept names."""
        kind = choose_encoder(accept)[1]
        with self._lock:
            made_ns, text = self._made.get(kind, (0, b""))
            if not text or time.monotonic_ns() - made_ns > FRESH_NS:
                text, _ = rendered(self._told(), accept)
                self._made = {kind: (time.monotonic_ns(), text)}
        return text, kind


def rendered(found: Iterable[Metric], accept: str) -> tuple[bytes, str]:
    """Returns the text and its content type, of the kinds that the header Accept names."""
    encode, kind = choose_encoder(accept)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(found))
    text: bytes = encode(registry)
    return text, kind


def families(snapshot: Snapshot, machine: Machine) -> Iterator[Metric]:
    """Yields what is to be told; what is not counted at this moment is left out."""
    yield from _state(snapshot, machine)
    yield from _costs(snapshot)
    if snapshot.tracing is not None:
        yield from _traced(snapshot.tracing)


def pushed(sent: int, dropped: int) -> Iterator[Metric]:
    """Yields what became of requests to an OTLP receiver."""
    told = "Requests to the OTLP receiver: taken, or dropped because it took none."
    family = CounterMetricFamily("mmaplock_otlp_requests", told, labels=["outcome"])
    family.add_metric(["sent"], sent)
    family.add_metric(["dropped"], dropped)
    yield family


def reloaded(is_well: bool) -> Iterator[Metric]:
    """Yields whether the configuration that was read last is followed."""
    told = "Whether the configuration that was read last is followed."
    yield GaugeMetricFamily("mmaplock_config_last_reload_successful", told, int(is_well))


def _state(snapshot: Snapshot, machine: Machine) -> Iterator[Metric]:
    up = snapshot.tracing is not None
    yield GaugeMetricFamily("mmaplock_up", "Whether mmap_lock is traced at this moment.", int(up))
    told = "Why nothing is traced at this moment, one of these."
    down = GaugeMetricFamily("mmaplock_down", told, labels=["reason"])
    for reason in REASONS:
        down.add_metric([reason], int(not up and reason == snapshot.reason))
    yield down
    about = {"version": __version__, "bpftrace": machine.bpftrace, "kernel": machine.kernel}
    about["locks"] = "contended"
    build = GaugeMetricFamily("mmaplock_build_info", "What traces.", labels=list(about))
    build.add_metric(list(about.values()), 1)
    yield build


def _costs(snapshot: Snapshot) -> Iterator[Metric]:
    usage = snapshot.usage
    told = "CPU time of the agent and of its bpftrace; what probes take is the traced threads'."
    cpu = CounterMetricFamily("mmaplock_cpu_seconds", told, labels=["process"])
    told = "Resident memory of the agent and of its bpftrace."
    memory = GaugeMetricFamily("mmaplock_resident_memory_bytes", told, labels=["process"])
    for name, cpu_ns, resident in (
        ("agent", usage.own_cpu_ns, usage.own_bytes),
        ("bpftrace", usage.bpftrace_cpu_ns, usage.bpftrace_bytes),
    ):
        cpu.add_metric([name], cpu_ns / NS)
        memory.add_metric([name], resident)
    yield from (cpu, memory)
    for name, told in _COUNTED.items():
        yield CounterMetricFamily(f"mmaplock_{name}", told, getattr(snapshot, name))


def _traced(tracing: Tracing) -> Iterator[Metric]:
    for name, told in _SPANS.items():
        yield _histogram(name, told, tracing)
    labels = ["cause", "mode", "culprit", "cgroup"]
    has_cgroups = any(cgroup for *_, cgroup in tracing.blamed_ns)
    blamed = CounterMetricFamily(
        "mmaplock_blamed_wait_seconds",
        "Waits of at least mmaplock_floor_seconds, by what the thread did that held the lock "
        "meanwhile, and by how the waiting one wanted it; several holds at once share a wait "
        "equally.",
        labels=labels if has_cgroups else labels[:3],  # an empty label is none (Prometheus)
    )
    for values, ns in sorted(tracing.blamed_ns.items()):
        blamed.add_metric(values if has_cgroups else values[:3], ns / NS)
    yield blamed
    told = "Read holds behind which a writer queued, and behind it readers."
    yield CounterMetricFamily("mmaplock_convoys", told, tracing.convoys)
    for name, (told, value) in _gauges(tracing).items():
        yield GaugeMetricFamily(f"mmaplock_{name}", told, value)


def _gauges(tracing: Tracing) -> dict[str, tuple[str, float]]:
    now = tracing.open
    held = "For how long the hold that has blocked others longest, of those that last, has done so."
    found: dict[str, tuple[str, float]] = {
        "open_hold_seconds_max": (held, now.hold_ns / NS),
        "open_wait_seconds_max": ("Age of the oldest wait that lasts.", now.wait_ns / NS),
        "floor_seconds": ("Shortest wait that is charged to a cause.", tracing.floor_ns / NS),
    }
    if tracing.residue is not None:
        told = "Waits begun less those ended and open, since bpftrace's start: events missed."
        found["books_residue"] = told, tracing.residue
    return found


def _histogram(name: str, told: str, tracing: Tracing) -> Metric:
    family = HistogramMetricFamily(f"mmaplock_{name}_seconds", told, labels=["mode"])
    for number, mode in enumerate(MODES):
        sum_ns = tracing.counts[f"{name}_sum", number]
        found: list[Any] = list(buckets(name, number, tracing.counts))
        example = tracing.example
        if example is not None and (example.kind, example.mode) == (name, mode):
            at = _bucket(example.ns)
            exemplar = Exemplar({"capture": example.capture}, example.ns / NS, example.time_s)
            found[at] = (*found[at], exemplar)
        family.add_metric([mode], found, sum_value=sum_ns / NS)
    return family


def _bucket(ns: int) -> int:
    return min(max(ns.bit_length() - FIRST_BIT, 0), LAST_BIT + 1 - FIRST_BIT)


def buckets(name: str, mode: int, counts: Counts) -> list[tuple[str, float]]:
    """Returns cumulative buckets, by powers of 2: each has its largest value, as `le` means it."""
    found = [0] * (LAST_BIT + 2 - FIRST_BIT)
    for key, count in counts.items():
        if isinstance(key, tuple) and key[:2] == (name, mode) and len(key) == 3:
            found[_bucket(key[2])] += count
    ends = [repr(((1 << bit) - 1) / NS) for bit in range(FIRST_BIT, LAST_BIT + 1)] + ["+Inf"]
    return list(zip(ends, map(float, accumulate(found)), strict=True))
