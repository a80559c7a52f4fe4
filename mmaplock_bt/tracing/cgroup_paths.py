"""Memory cgroups: a kernel id is the inode number of a directory, and directories have paths.

The hierarchy is the one that has the memory controller: v1's own, or v2's unified one.
"""

import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from mmaplock_bt.machine import inventory
from mmaplock_bt.spec.declaration import Output
from mmaplock_bt.stream import bpftrace_json

RECORD = "mmaplock-bt-cgroups"
AGAIN_S = 1.0  # a walk over all cgroups is not done more often


def paths() -> dict[int, str]:
    """Id -> path within the hierarchy, of all cgroups that exist."""
    root = inventory.cgroup_hierarchy()
    if root is None:
        return {}
    found = {root.stat().st_ino: "/"}
    folders = [str(root)]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    found[entry.inode()] = "/" + os.path.relpath(entry.path, root)
                    folders.append(entry.path)
    return found


@dataclass
class Cgroups:
    """Learns the paths of the cgroups that a stream names, while they exist."""

    outputs: dict[str, Output]
    known: dict[int, str] = field(default_factory=paths)
    wanted: set[int] = field(default_factory=set)
    gone: set[int] = field(default_factory=set)
    named: set[int] = field(default_factory=set)
    again_s: float = 0.0

    @classmethod
    def of(cls, outputs: dict[str, Output]) -> "Cgroups":
        named = {n: o for n, o in outputs.items() if any(c.name == "cgroup" for c in o.printed)}
        return cls(named)

    def watch(self, lines: Iterable[str]) -> Iterator[str]:
        """Passes the stream on, with a line of ours after one that names a new cgroup."""
        names = ("name", "whose", *self.outputs)
        for line in lines:
            yield line
            for record in bpftrace_json.printed(line, names):
                self._note(record)
                yield from self.records()

    def records(self) -> Iterator[str]:
        """The line of the raw stream that names those not named yet."""
        self._look()
        new = (self.wanted - self.named) & self.known.keys()
        if new:
            self.named |= new
            yield json.dumps({"type": RECORD, "paths": {str(i): self.known[i] for i in new}})

    def _note(self, record: bpftrace_json.Printed) -> None:
        """A record that cannot be read is the analysis' to report."""
        with suppress(ValueError, IndexError, TypeError, KeyError):
            if record.name == "name":
                found = record.rest.split("|")[1]
            elif record.name == "whose":
                found = record.rest.split("|")[3]
            else:
                found = (self.outputs[record.name].cut(record.rest) or {})["cgroup"]
            self.wanted |= {int(found)} - {0}  # 0 is no cgroup

    def _look(self) -> None:
        """Walks again for one that is new, unless it did so just now; what is gone stays so."""
        if self.wanted <= self.known.keys() | self.gone or time.monotonic() < self.again_s:
            return
        self.known |= paths()
        self.gone = self.wanted - self.known.keys()
        self.again_s = time.monotonic() + AGAIN_S
