"""A thread's kernel stack at this moment, from /proc/TID/stack, which takes no mmap_lock."""

import re
from pathlib import Path

from mmaplock_bt.tracing import patience

PATIENCE_S = 0.2
_PROC_FRAME = re.compile(r"\[<\w+>\] ([^+]+)\+0x([0-9a-f]+)/0x[0-9a-f]+.*")


def of_thread(tid: int) -> list[str]:
    """Returns a thread's frames, innermost first; [] where it runs, is gone, or is unreadable."""
    return of_folder(Path(f"/proc/{tid}"))


def of_folder(folder: Path) -> list[str]:
    """Returns the same for a thread's folder below /proc.

    The file takes exec_update_lock, which a stuck exec holds: a thread of its own reads it, and
    nobody waits for that longer than PATIENCE_S.
    """
    return patience.within(PATIENCE_S, lambda: _frames(folder)) or []


def _frames(folder: Path) -> list[str]:
    lines = (folder / "stack").read_text(errors="replace").splitlines()
    return [_PROC_FRAME.sub(_as_printed, line) for line in lines]


def _as_printed(frame: re.Match[str]) -> str:
    """'[<0>] do_exit+0x1a/0xb0' as bpftrace prints it: 'do_exit+26'."""
    return f"{frame[1]}+{int(frame[2], 16)}"
