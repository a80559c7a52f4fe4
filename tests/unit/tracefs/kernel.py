"""What Linux 6.18 says of its events, two pages of its buffer, and pages of a test's own."""

import json
import struct
from pathlib import Path

from mmaplock_bt.tracefs import formats
from mmaplock_bt.tracefs.pages import KERNEL_STACK, LOCKS, TASKS, Pages

DATA = Path(__file__).parents[2] / "data/tracefs"
TEXTS = json.loads((DATA / "linux-6.18.formats.json").read_text())
FORMATS = {name: formats.parse(text) for name, text in TEXTS.items()}
PAGE = 4096
CAPTURED = (DATA / "linux-6.18.pages").read_bytes()
NUMBERS = {kind: FORMATS[name].event for name, kind in LOCKS.items()}
STACK = FORMATS[KERNEL_STACK].event


def reader():
    wanted = {name: FORMATS[name] for name in (*LOCKS, *TASKS, KERNEL_STACK)}
    return Pages(FORMATS["header_page"], wanted)


def lock(kind, tid, mm, mode=0, got=1):
    """The bytes of a lock's event, as 6.18 lays them out; its cgroup is 7."""
    return struct.pack("<HBBiQQBBxx", NUMBERS[kind], 0, 0, tid, mm, 7, mode, got)


def stack(tid, frames):
    return struct.pack(f"<HBBii4x{len(frames)}Q", STACK, 0, 0, tid, len(frames), *frames)


def page(start_ns, entries, missed=None):
    """A page of (delta in ns, event); `missed`: so many were lost before it."""
    data = b"".join(_entry(delta, event) for delta, event in entries)
    length = len(data)
    if missed is not None:
        data += struct.pack("<Q", missed)
        length |= 3 << 30
    return (struct.pack("<QQ", start_ns, length) + data).ljust(PAGE, b"\0")


def _entry(delta, event):
    head = b""
    if delta >= 1 << 27:
        head = struct.pack("<II", 30 | (delta & (1 << 27) - 1) << 5, delta >> 27)
        delta = 0
    whole = event.ljust(-(-len(event) // 4) * 4, b"\0")
    if len(whole) <= 28 * 4:
        return head + struct.pack("<I", len(whole) // 4 | delta << 5) + whole
    return head + struct.pack("<II", delta << 5, len(whole) + 4) + whole
