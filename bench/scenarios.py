"""What the victim does while it is traced."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    operation: str
    threads: int
    quick: bool = False


MAIN = "read-1"  # whose ratios are the README's; also what says whether the machine is quiet
SCENARIOS = (
    Scenario(MAIN, "read, 1 thread", "read", 1, quick=True),
    Scenario("read-2", "read, 2 threads", "read", 2),
    Scenario("read-4", "read, 4 threads", "read", 4),
    Scenario("write-1", "write, 1 thread", "write", 1, quick=True),
    Scenario("map-1", "mmap + munmap, 1 thread", "map", 1),
    Scenario("contended-2", "read beside a writer, 2 threads", "contended", 2),
    Scenario("contended-4", "read beside a writer, 4 threads", "contended", 4),
)
