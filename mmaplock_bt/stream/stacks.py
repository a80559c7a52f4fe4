"""Kernel stacks as text -> frames 'function+offset', innermost first, whoever printed them."""

import re
import threading
from contextlib import suppress
from pathlib import Path

PATIENCE_S = 0.2
_TRACER_FRAME = re.compile(
    r"(bpf_prog_|bpf_trace_run|bpf_get_stack|__bpf_trace_|__traceiter_mmap_lock|__mmap_lock_do_trace"
    r"|perf_trace_|trace_call_bpf|perf_call_bpf|trace_event_raw)"
)
_PROC_FRAME = re.compile(r"\[<\w+>\] ([^+]+)\+0x([0-9a-f]+)/0x[0-9a-f]+.*")


def frames(text: str) -> list[str]:
    """A stack as printed -> frames, innermost first, without those of the tracing itself."""
    found = [line.strip() for line in text.split("\n")]
    kept = [line for line in found if line]
    while kept and _TRACER_FRAME.match(kept[0]):
        kept.pop(0)
    return kept


def now(tid: int) -> list[str]:
    """A thread's stack now; [] where it is gone, runs at this moment, or cannot be read.

    /proc/TID/stack takes no mmap_lock, but exec_update_lock, which a stuck exec holds: it is read
    by a thread of its own that nobody waits for longer than a moment.
    """
    frames: list[str] = []

    def read() -> None:
        with suppress(OSError):
            for line in Path(f"/proc/{tid}/stack").read_text(errors="replace").splitlines():
                frames.append(_PROC_FRAME.sub(_as_printed, line))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(PATIENCE_S)
    return list(frames)


def _as_printed(frame: re.Match[str]) -> str:
    """'[<0>] do_exit+0x1a/0xb0' as bpftrace writes it: 'do_exit+26'."""
    return f"{frame[1]}+{int(frame[2], 16)}"
