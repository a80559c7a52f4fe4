"""Learns the paths of the cgroups in a stream while they exist."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from mmaplock_bt.machine import cgroups
from mmaplock_bt.spec.outputs import Outputs
from mmaplock_bt.stream.records import Cgroup, CgroupPaths, Events, Named, Record, Whose

AGAIN_S = 1.0  # between two walks over all cgroups
MOST = 16_384  # ids that are remembered


@dataclass
class CgroupNames:
    """A listener that names cgroups.

    It walks the hierarchy once at the window's start, and again for each one that is new.
    """

    outputs: frozenset[str]  # those whose events have a cgroup
    known: dict[int, str] = field(default_factory=cgroups.paths)
    wanted: set[int] = field(default_factory=set)
    settled: set[int] = field(default_factory=set)  # that were named, or are gone
    again_s: float = 0.0

    @classmethod
    def for_outputs(cls, outputs: Outputs) -> "CgroupNames":
        """Makes a listener for the outputs whose records have a cgroup."""
        naming = (n for n, o in outputs.items() if any(c.name == "cgroup" for c in o.printed))
        return cls(frozenset(naming))

    def hear(self, record: Record) -> Iterator[Record]:
        """Yields a CgroupPaths after a record with a new cgroup."""
        match record:
            case Named(cgroup=found) | Whose(cgroup=found) | Cgroup(cgroup=found):
                self.wanted |= {found} - {0} - self.settled  # 0 is no cgroup
            case Events(output=name) if name in self.outputs:
                self.wanted |= {*record.column("cgroup")} - {0} - self.settled
            case _:
                return
        yield from self.told() if self.wanted else ()

    def told(self) -> Iterator[Record]:
        """Yields a CgroupPaths with the paths that were found and not given yet."""
        self._look()
        new = self.wanted & self.known.keys()
        self._settle(new)
        if new:
            yield CgroupPaths({str(identity): self.known[identity] for identity in new})

    def _look(self) -> None:
        """Walks again for a new one, unless it just did; one that is gone is not sought again."""
        if self.wanted <= self.known.keys() or time.monotonic() < self.again_s:
            return
        self.known = cgroups.paths()
        self._settle(self.wanted - self.known.keys())
        self.again_s = time.monotonic() + AGAIN_S

    def _settle(self, found: set[int]) -> None:
        if len(self.settled) > MOST:  # they may be named once more
            self.settled.clear()
        self.settled |= found
        self.wanted -= found
