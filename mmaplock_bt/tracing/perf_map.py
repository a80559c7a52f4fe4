"""Names of code that a program compiled while it ran, from its /tmp/perf-PID.map.

Such code has no file. Node with --perf-basic-prof, the JVM (perf-map-agent, Compiler.perfmap of
JDK 17) and Python 3.12 with -X perf write what is where: a line each of start and size in
hexadecimal and a name (tools/perf/Documentation/jit-interface.txt). /tmp belongs to everybody and
the program to somebody: nothing but a plain file of the process's user, or of root, is read.
"""

import os
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from mmaplock_bt.escaping import plain
from mmaplock_bt.tracing import foreign_files

MAX_BYTES = 64 << 20
CLOCK_STEP_S = 2.0  # by which a clock that is set right may have gone back
NAME = 300  # bytes of a name


def opened(pid: int) -> BinaryIO | None:
    """Opens a live process's map, as it is in its own root and under its own id there.

    None where there is none, or one that is not to be read. Raises OSError or ValueError.
    """
    uid = Path(f"/proc/{pid}").stat().st_uid
    return _opened(pid, _own_pid(pid), uid, _began_s(pid))


def opened_afterwards(pid: int, began_s: float) -> BinaryIO | None:
    """Opens the map that a command of ours left, which began at `began_s` (time.time()) or later.

    None, and raises, as above.
    """
    return _opened("self", pid, os.geteuid(), began_s)


def _opened(process: int | str, pid: int, uid: int, began_s: float) -> BinaryIO | None:
    found = foreign_files.opened(process, f"/tmp/perf-{pid}.map")
    if found is None:
        return None
    file, _ = found
    about = os.fstat(file.fileno())
    # An older one is that of an earlier process, whose id is used again.
    if _is_fit(about, uid) and about.st_mtime > began_s - CLOCK_STEP_S:
        return file
    file.close()
    return None


def names(file: BinaryIO, addresses: Iterable[int]) -> dict[int, tuple[str, int]]:
    """Returns the name, and how far into the code so called, for the addresses that a map knows.

    Where code was compiled again at the same place, the last line counts.
    """
    wanted = sorted(addresses)
    found: dict[int, tuple[str, int]] = {}
    with suppress(OSError):
        file.seek(0)
        for line in _backwards(file.read(MAX_BYTES)):
            with suppress(ValueError):
                start, size, name = line.split(maxsplit=2)
                first = int(start, 16)
                covered = slice(
                    bisect_left(wanted, first), bisect_left(wanted, first + int(size, 16))
                )
                found |= {one: (_text(name), one - first) for one in wanted[covered]}
                del wanted[covered]
    return found


def _backwards(data: bytes) -> Iterator[bytes]:
    end = len(data)
    while end > 0:
        begin = data.rfind(b"\n", 0, end) + 1
        yield data[begin:end]
        end = begin - 1


def _own_pid(pid: int) -> int:
    """The process's id in its own namespace; /proc/PID/status takes no mmap_lock."""
    for line in Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines():
        if line.startswith("NStgid:"):
            return int(line.split()[-1])
    return pid


def _began_s(pid: int) -> float:
    """When a process began, as time.time() says it."""
    ticks = int(
        Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    )
    booted_s = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return booted_s + ticks / os.sysconf("SC_CLK_TCK")


def _is_fit(about: os.stat_result, uid: int) -> bool:
    return about.st_uid in (uid, 0) and about.st_size <= MAX_BYTES


def _text(name: bytes) -> str:
    return plain(name[:NAME].strip().decode("utf-8", "surrogateescape"))
