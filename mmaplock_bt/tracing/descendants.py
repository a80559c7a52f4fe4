"""Descendants of a process: existing ones are put into the script's map, it adds new ones."""

from contextlib import suppress
from pathlib import Path

from mmaplock_bt.machine import pid_namespace
from mmaplock_bt.tracing import bpf_maps
from mmaplock_bt.tracing.bpftrace import Tracer

ROUNDS = 3


def add_descendants(roots: dict[str, tuple[int, ...]], tracer: Tracer) -> None:
    """Puts the descendants of the root pids into the script's map of that name.

    The fork probe is live already: what it cannot have seen is found in /proc. Looks ROUNDS times:
    a child may fork after it is found and before it is in the map.
    """
    if tracer.script.plan is not None:  # the tracefs engine looks by itself
        return
    found = bpf_maps.of_process(tracer.pid, needed=set(roots)) if roots else {}
    try:
        for name, pids in roots.items():
            known: set[int] = set()
            for _ in range(ROUNDS):
                new = set().union(*map(descendants, pids)) - known
                for pid in pid_namespace.translate(tracer.machine.path, list(new), gone=True):
                    found[name].put((pid,), 1)
                known |= new
    finally:
        bpf_maps.close(found)


def descendants(root: int) -> set[int]:
    """Returns the pids below `root`, from /proc/PID/task/TID/children.

    Reading it takes no lock of the process.
    """
    found: set[int] = set()
    waiting = [root]
    while waiting:
        for children in _children_files(waiting.pop()):
            with suppress(OSError):
                new = {int(pid) for pid in children.read_text().split()} - found
                found |= new
                waiting += new
    return found


def _children_files(pid: int) -> list[Path]:
    with suppress(OSError):  # glob() raises for a process that ends while it looks
        return list(Path(f"/proc/{pid}/task").glob("*/children"))
    return []
