"""Whether a process and its descendants have nothing more to do, as when probes are attached."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
LOOK_S = 3.0
SHARE = 0.1  # of one CPU; what waits for events wakes now and then
TICKS = os.sysconf("SC_CLK_TCK")


class Idleness:
    """Asked over and over, it says whether the last look found less than `SHARE` of a CPU used."""

    def __init__(self, pid: int, proc: Path = PROC) -> None:
        self._pid, self._proc = pid, proc
        self._began_s, self._ticks = time.monotonic(), ticks(pid, proc)

    def is_idle(self) -> bool:
        now_s = time.monotonic()
        if now_s - self._began_s < LOOK_S:
            return False
        used, found = self._ticks, ticks(self._pid, self._proc)
        share = (found - used) / TICKS / (now_s - self._began_s)
        self._began_s, self._ticks = now_s, found
        return share < SHARE


def ticks(pid: int, proc: Path = PROC) -> int:
    """Returns the CPU time of a process and its living descendants."""
    parents, used = {}, {}
    for number, parent, time_used in _processes(proc):
        parents[number], used[number] = parent, time_used
    family = {pid}
    while more := {one for one, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(used.get(one, 0) for one in family)


def _processes(proc: Path) -> Iterator[tuple[int, int, int]]:
    """Yields pid, parent and CPU time (proc(5), stat; a name may hold blanks and brackets)."""
    for file in proc.glob("[0-9]*/stat"):
        try:
            fields = file.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        yield int(file.parent.name), int(fields[1]), int(fields[11]) + int(fields[12])
