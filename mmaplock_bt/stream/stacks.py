"""Reads stacks as printed by any release: frames, innermost first."""

import re
import sys
from contextlib import suppress

_TRACER_FRAME = re.compile(
    r"(bpf_prog_|bpf_trace_run|bpf_get_stack|__bpf_trace_|__traceiter_mmap_lock|__mmap_lock_do_trace"
    r"|perf_trace_|trace_call_bpf|perf_call_bpf|trace_event_raw)"
)

MADVISE = "madvise"  # with the advice's number plus one, or 0, it follows a printed kernel stack
_ADVISED = re.compile(rf"{MADVISE} (\d+)")
# madvise(2)'s advice by number (include/uapi/asm-generic/mman-common.h).
ADVICE = {
    **{0: "NORMAL", 1: "RANDOM", 2: "SEQUENTIAL", 3: "WILLNEED", 4: "DONTNEED", 8: "FREE"},
    **{9: "REMOVE", 10: "DONTFORK", 11: "DOFORK", 12: "MERGEABLE", 13: "UNMERGEABLE"},
    **{14: "HUGEPAGE", 15: "NOHUGEPAGE", 16: "DONTDUMP", 17: "DODUMP", 18: "WIPEONFORK"},
    **{19: "KEEPONFORK", 20: "COLD", 21: "PAGEOUT", 22: "POPULATE_READ", 23: "POPULATE_WRITE"},
    **{24: "DONTNEED_LOCKED", 25: "COLLAPSE", 100: "HWPOISON", 101: "SOFT_OFFLINE"},
    **{102: "GUARD_INSTALL", 103: "GUARD_REMOVE"},
}


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
    """Returns the frames of a printed kernel stack, innermost first, without the tracer's own.

    The advice that may follow it becomes the outermost frame: 'madvise(MADV_FREE)'.
    """
    found = [line.strip() for line in text.split("\n")]
    kept = [sys.intern(line) for line in found if line]
    if kept and (advised := _ADVISED.fullmatch(kept[-1])):
        kept[-1:] = _call(int(advised[1]))
    # On top only: further down such a frame is another tracer's, which did take the time.
    while kept and _TRACER_FRAME.match(kept[0]):
        kept.pop(0)
    return Stack(kept)


def is_lost(stack: list[str]) -> bool:
    """Tells whether a kernel stack did not come, but perhaps the advice behind it."""
    return not stack or (len(stack) == 1 and stack[0].startswith(f"{MADVISE}("))


def _call(advice: int) -> list[str]:
    name = ADVICE.get(advice - 1)
    return [sys.intern(f"{MADVISE}(MADV_{name})")] if name else []


def addresses(text: str) -> list[int]:
    """Reads a raw user stack: hexadecimal addresses, with 0x or without.

    0 is no frame.
    """
    found = []
    for word in text.split():
        with suppress(ValueError):
            found.append(int(word, 16))
    return [address for address in found if address]
