"""Reads stacks as printed by any release: frames, innermost first."""

import re
from contextlib import suppress

_TRACER_FRAME = re.compile(
    r"(bpf_prog_|bpf_trace_run|bpf_get_stack|__bpf_trace_|__traceiter_mmap_lock|__mmap_lock_do_trace"
    r"|perf_trace_|trace_call_bpf|perf_call_bpf|trace_event_raw)"
)


def frames(text: str) -> list[str]:
    """Returns the frames of a printed kernel stack, innermost first, without the tracer's own."""
    found = [line.strip() for line in text.split("\n")]
    kept = [line for line in found if line]
    # On top only: further down such a frame is another tracer's, which did take the time.
    while kept and _TRACER_FRAME.match(kept[0]):
        kept.pop(0)
    return kept


def addresses(text: str) -> list[int]:
    """Reads a raw user stack: hexadecimal addresses, with 0x or without.

    0 is no frame.
    """
    found = []
    for word in text.split():
        with suppress(ValueError):
            found.append(int(word, 16))
    return [address for address in found if address]
