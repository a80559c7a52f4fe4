"""Process ids as the whole machine counts them, seen from inside a PID namespace.

The kernel's own structures, and so the scripts, hold the initial namespace's ids; /proc shows ours.
No file translates them, but a tracepoint does: a process whose oom_score_adj is written (with the
value that it has) is named by its initial id.
"""

import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from mmaplock_bt.errors import TargetError

INITIAL_INODE = 0xEFFFFFFC  # PROC_PID_INIT_INO, include/linux/proc_ns.h
LIVE_TIMEOUT_S = 30.0
NAME = "mmaplock-bt/pid"
PROGRAM = (
    "tracepoint:oom:oom_score_adj_update "
    f'/comm == "{NAME}"/ {{ printf("pid|%d|\\n", args->pid); }} '
    'interval:ms:50 { printf("tick|\\n"); }'
)


def is_initial() -> bool:
    return Path("/proc/self/ns/pid").stat().st_ino == INITIAL_INODE


def translate(bpftrace: str, pids: list[int], *, gone: bool = False) -> list[int]:
    """Ours -> the machine's; the same where we are in its namespace.

    Raises TargetError for one that cannot be told; with `gone` those are left out.
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
        found = [(pid, _ask(process, pid)) for pid in pids]
    finally:
        comm.write_text(name, errors="surrogateescape")
        process.send_signal(signal.SIGKILL)
        process.communicate()
    for pid, machines in found:
        if machines is None and not gone:
            raise TargetError(
                f"process {pid} of this PID namespace cannot be told from the machine's own ids",
                "run it in the machine's namespace (--pid=host)",
            )
    return [machines for _, machines in found if machines is not None]


def _ask(process: "subprocess.Popen[bytes]", pid: int) -> int | None:
    """Writes what is there already, once the probe is live; the answer names the process."""
    assert process.stdout is not None
    adjustment = Path(f"/proc/{pid}/oom_score_adj")
    deadline = time.monotonic() + LIVE_TIMEOUT_S
    waiting = False
    with suppress(OSError):
        for line in process.stdout:
            found = re.search(rb"pid\|(\d+)\|", line)
            if found:
                return int(found[1])
            if b"tick" in line and not waiting:
                waiting = True
                adjustment.write_text(adjustment.read_text())
            if time.monotonic() > deadline:
                break
    return None
