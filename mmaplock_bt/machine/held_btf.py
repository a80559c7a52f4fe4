"""A BTF object held open: bpftrace 0.27 takes raw tracepoints only while any program's is loaded.

It goes through the loaded ones to find the modules' and gives up where there is none but vmlinux's
own; others' programs come and go, so that without ours a raw tracepoint is had by luck. 0.25.1 and
0.26.1, built from their tags, abort there on any delete() (basic_string: construction from null).
"""

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from mmaplock_bt.machine.bpf_call import bpf

_BTF_LOAD = 18  # include/uapi/linux/bpf.h; Linux 4.18
_STRINGS = b"\0int\0"
_INT = struct.pack("=IIII", 1, 1 << 24, 4, 1 << 24 | 32)  # name, BTF_KIND_INT, 4 bytes, signed


def minimal() -> bytes:
    """Returns the smallest BTF that says anything: one type, int."""
    lengths = (24, 0, len(_INT), len(_INT), len(_STRINGS))  # the header's, types, strings
    return struct.pack("=HBBIIIII", 0xEB9F, 1, 0, *lengths) + _INT + _STRINGS


def load() -> int | None:
    """Loads it and returns its descriptor; None where the kernel does not let us: just go on."""
    text = minimal()
    buffer = ctypes.create_string_buffer(text, len(text))
    attributes = struct.pack("QQII", ctypes.addressof(buffer), 0, len(text), 0)
    descriptor, _, _ = bpf(_BTF_LOAD, attributes)
    return descriptor if descriptor >= 0 else None


@contextmanager
def held() -> Iterator[None]:
    """Holds it open inside the block."""
    descriptor = load()
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)
