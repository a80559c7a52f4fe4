"""What the victim does while it is traced."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    operation: str
    threads: int
    quick: bool = False
    cpu: int | None = None  # of those allowed, by its place; None: wherever the scheduler likes


MAIN = "read-1"  # whose ratios are the README's; also what says whether the machine is quiet
SCENARIOS = (
    # On CPU 0 a `tracepoint:` probe of bpftrace costs more: mmaplock_bt/tracing/perf_events.py.
    Scenario(MAIN, "read, 1 thread", "read", 1, quick=True, cpu=-1),
    Scenario("read-first-cpu", "read, 1 thread, on CPU 0", "read", 1, quick=True, cpu=0),
    Scenario("read-2", "read, 2 threads", "read", 2),
    Scenario("read-4", "read, 4 threads", "read", 4),
    Scenario("write-1", "write, 1 thread", "write", 1, quick=True, cpu=-1),
    Scenario("map-1", "mmap + munmap, 1 thread", "map", 1, cpu=-1),
    Scenario("contended-2", "read beside a writer, 2 threads", "contended", 2),
    Scenario("contended-4", "read beside a writer, 4 threads", "contended", 4),
)
