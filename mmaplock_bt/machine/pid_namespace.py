"""Process ids as the initial PID namespace has them, found from inside another one.

Kernel structures, and so the scripts, hold the initial namespace's ids; /proc shows ours. No file
translates them, but a tracepoint does: it names by its initial id any process whose oom_score_adj
is written, be it with the value that it has.
"""

import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from mmaplock_bt.errors import TargetError

INITIAL_INODE = 0xEFFFFFFC  # PROC_PID_INIT_INO, include/linux/proc_ns.h
LIVE_TIMEOUT_S = 30.0
NAME = "mmaplock-bt/pid"  # 15 bytes, as many as a thread's name holds
# The tick says that the probes are live: `attached_probes` up to 0.23 comes before they are loaded.
PROGRAM = (
    "tracepoint:oom:oom_score_adj_update "
    f'/comm == "{NAME}"/ {{ printf("pid|%d|\\n", args->pid); }} '
    'interval:ms:50 { printf("tick|\\n"); }'
)


def is_initial() -> bool:
    """Tells whether this process is in the initial PID namespace."""
    return Path("/proc/self/ns/pid").stat().st_ino == INITIAL_INODE


def translate(bpftrace: str, pids: list[int], *, gone: bool = False) -> list[int]:
    """Returns the initial namespace's ids of pids as this process sees them, in their order.

    Raises TargetError for one that cannot be found; with `gone` those are left out.
    """
    if is_initial() or not pids:
        return pids
    comm = Path("/proc/self/comm")
    name = comm.read_text(errors="surrogateescape")
    process = subprocess.Popen(
        [bpftrace, "-q", "-f", "json", "-e", PROGRAM],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        comm.write_text(NAME)
        deadline = time.monotonic() + LIVE_TIMEOUT_S
        found = [(pid, _ask(process, pid, deadline)) for pid in pids]
    finally:
        comm.write_text(name, errors="surrogateescape")
        process.send_signal(signal.SIGKILL)  # it has no maps to print
        process.communicate()
    for pid, machines in found:
        if machines is None and not gone:
            raise TargetError(
                f"process {pid} of this PID namespace cannot be told from the machine's own ids",
                "run it in the machine's namespace (--pid=host)",
            )
    return [machines for _, machines in found if machines is not None]


def _ask(process: "subprocess.Popen[bytes]", pid: int, deadline: float) -> int | None:
    """Once the probe is live, writes the value that is there already; None without an answer."""
    adjustment = Path(f"/proc/{pid}/oom_score_adj")
    waiting = False
    with suppress(OSError):
        for line in _lines(process, deadline):
            found = re.search(rb"pid\|(\d+)\|", line)
            if found:
                return int(found[1])
            if b"tick" in line and not waiting:
                waiting = True
                adjustment.write_text(adjustment.read_text())
    return None


def _lines(process: "subprocess.Popen[bytes]", deadline: float) -> Iterator[bytes]:
    """What it prints until the deadline, be it silent or not."""
    assert process.stdout is not None
    descriptor, rest = process.stdout.fileno(), b""
    while (left_s := deadline - time.monotonic()) > 0:
        if not select.select([descriptor], [], [], left_s)[0]:
            return
        piece = os.read(descriptor, 1 << 16)
        if not piece:
            return
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
