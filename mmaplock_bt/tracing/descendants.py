"""Descendants of a process: those that exist are put into the script's map, new ones it sees."""

from contextlib import suppress
from pathlib import Path

from mmaplock_bt.machine import pid_namespace
from mmaplock_bt.tracing import bpf_maps
from mmaplock_bt.tracing.bpftrace import Tracer

ROUNDS = 3


def add_descendants(roots: dict[str, int], tracer: Tracer) -> None:
    """Map name -> root pid. The fork probe is live: what it cannot have seen is found in /proc.

    Looks again: a child may fork between its finding and its entry.
    """
    found = bpf_maps.of(tracer.pid) if roots else {}
    try:
        for name, root in roots.items():
            known: set[int] = set()
            for _ in range(ROUNDS):
                new = descendants(root) - known
                for pid in pid_namespace.translate(tracer.target.path, list(new), gone=True):
                    found[name].put(pid, 1)
                known |= new
    finally:
        bpf_maps.close(found)


def descendants(root: int) -> set[int]:
    """Pids below `root`, by /proc/PID/task/TID/children, which takes no lock of the process."""
    found: set[int] = set()
    waiting = [root]
    while waiting:
        for children in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            with suppress(OSError):
                new = {int(pid) for pid in children.read_text().split()} - found
                found |= new
                waiting += new
    return found
