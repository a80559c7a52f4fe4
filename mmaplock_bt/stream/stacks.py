"""Reads stacks as printed by any release: frames, innermost first."""

import re
import sys
from contextlib import suppress

_TRACER_FRAME = re.compile(
    r"(bpf_prog_|bpf_trace_run|bpf_get_stack|__bpf_trace_|__traceiter_mmap_lock|__mmap_lock_do_trace"
    r"|perf_trace_|trace_call_bpf|perf_call_bpf|trace_event_raw)"
)


class Stack(list[str]):
    """Frames, innermost first; may be a key. One object is shared by many rows: never changed."""

    __slots__ = ("_hash",)
    _hash: int

    def __hash__(self) -> int:  # type: ignore[override]
        try:
            return self._hash
        except AttributeError:
            self._hash = hash(repr(self))
            return self._hash


def frames(text: str) -> Stack:
    """Returns the frames of a printed kernel stack, innermost first, without the tracer's own."""
    found = [line.strip() for line in text.split("\n")]
    kept = [sys.intern(line) for line in found if line]
    # On top only: further down such a frame is another tracer's, which did take the time.
    while kept and _TRACER_FRAME.match(kept[0]):
        kept.pop(0)
    return Stack(kept)


def addresses(text: str) -> list[int]:
    """Reads a raw user stack: hexadecimal addresses, with 0x or without.

    0 is no frame.
    """
    found = []
    for word in text.split():
        with suppress(ValueError):
            found.append(int(word, 16))
    return [address for address in found if address]
