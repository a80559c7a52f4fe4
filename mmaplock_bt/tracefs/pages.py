"""Reads ring-buffer pages, as trace_pipe_raw gives them, as events.

A page is its first time stamp, the length of its data, then entries: a word with type and time
since the entry before, then the event (include/linux/ring_buffer.h, kernel/trace/ring_buffer.c; as
events/header_page and header_event say).

Binary, not the text of trace_pipe: that prints addresses hashed (%p), takes the kernel longer, and
is three times as long.

An event is a list: when one is made for every lock's every step, anything else takes twice as long.
"""

import sys
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from struct import Struct
from struct import error as StructError
from typing import Any

from mmaplock_bt.tracefs.formats import Format

# What an event is, and what follows TIME, KIND and TID: of a lock's MM, CGROUP (of the address
# space's owner; 0: not told), MODE, GOT and its STACK (addresses; () where none came); of a
# thread's what TASKS lists; of a gap when the event before it was, and how many were lost (0:
# unknown).
START, ACQUIRED, RELEASED, NEW, NAMED, EXEC, EXIT, GAP = range(8)
TIME, KIND, TID, MM, CGROUP, MODE, GOT, STACK = range(8)
Event = list[Any]

# event -> its kind and the fields that are read, in the order in which they lie there
TASKS = {
    "task/task_newtask": (NEW, ("pid", "comm", "clone_flags")),
    "task/task_rename": (NAMED, ("pid", "newcomm")),
    "sched/sched_process_exec": (EXEC, ("pid", "old_pid")),
    "sched/sched_process_exit": (EXIT, ("pid",)),
}
LOCKS = {
    "mmap_lock/mmap_lock_start_locking": START,
    "mmap_lock/mmap_lock_acquire_returned": ACQUIRED,
    "mmap_lock/mmap_lock_released": RELEASED,
}
KERNEL_STACK = "ftrace/kernel_stack"

# Entry types: up to 28 a length in words; 0: the length follows.
_PADDING, _TIME_EXTEND = 29, 30  # 31 is an absolute time stamp
_DELTA_BITS = 27
_STAMP_TOP = ~((1 << 59) - 1)  # bits that an absolute stamp has no room for (from 5.17 on)
# Above a page's length: events before it were lost, in overwrite mode; their number follows.
_MISSED, _STORED = 1 << 31, 1 << 30
_WORD, _LONG, _ENTRY = Struct("=I"), Struct("=Q"), Struct("=IH")
_LARGE = Struct("=IH")
_TYPE_SHIFT, _DELTA_SHIFT = (0, 5) if sys.byteorder == "little" else (_DELTA_BITS, 0)
_DELTA_MASK = (1 << _DELTA_BITS) - 1
_HAVE_STACKS = (ACQUIRED, RELEASED)
_STACK_END = (0, 2**64 - 1)
_DEEPEST = 128
_BARE = 8  # events that may wait for their stacks: one, and one for each kind of interrupt


class Pages:
    """Reads the pages of one CPU, in their order.

    `formats` are those of the events that may come, by name; others are passed over. Raises
    TargetError for one without a field that is needed.
    """

    def __init__(self, header: Format, formats: Mapping[str, Format]) -> None:
        self._commit = header.fields["commit"].offset
        self._data = header.fields["data"].offset
        self._last_ns = 0
        self._bare: deque[Event] = deque(maxlen=_BARE)  # the latest, whose stack may follow
        self._readers: dict[int, tuple[int, Any]] = {}
        self._stack = -1
        for name, one in formats.items():
            if name == KERNEL_STACK:
                self._stack = one.event
                self._count = one.reader("common_pid", "size").unpack_from
                self._callers = one.fields["caller"].offset
            else:
                self._readers[one.event] = _lock(name, one) if name in LOCKS else _task(name, one)

    def read(self, page: bytes) -> list[Event]:
        """Returns a page's events; what is no page, or is cut off, ends it."""
        if len(page) < self._data:
            return []
        now_ns, length = _LONG.unpack_from(page)[0], _WORD.unpack_from(page, self._commit)[0]
        end = min(self._data + (length & (_STORED - 1)), len(page))
        found: list[Event] = []
        if length & _MISSED:
            lost = 0
            if length & _STORED and end + _LONG.size <= len(page):
                lost = _LONG.unpack_from(page, end)[0]
            self._bare.clear()
            found.append([now_ns, GAP, 0, self._last_ns, lost])
        with suppress(StructError):  # an event that the page cuts off
            self._entries(page, now_ns, end, found)
        if found:
            self._last_ns = found[-1][TIME]
        return found

    def _entries(self, page: bytes, now_ns: int, end: int, found: list[Event]) -> None:
        """In one piece: it runs for every step of every lock."""
        at, readers, bare, unpack = self._data, self._readers, self._bare, _ENTRY.unpack_from
        while at + 8 <= end:
            word, event = unpack(page, at)
            entry, delta = word >> _TYPE_SHIFT & 31, word >> _DELTA_SHIFT & _DELTA_MASK
            at += 4
            size = entry << 2
            if entry >= _PADDING:
                at, now_ns = _passed(page, at, entry, delta, now_ns)
                continue
            if not entry:
                size, event = _LARGE.unpack_from(page, at)
                at, size = at + 4, size - 4
            now_ns += delta
            if size < 4 or at + size > end:
                return
            if (reader := readers.get(event)) is not None:
                kind, read = reader
                made = [now_ns, kind, *read(page, at)]
                found.append(made)
                if kind in _HAVE_STACKS:
                    bare.append(made)
            elif event == self._stack:
                self._add_stack(page, at, size)
            at += size

    def _add_stack(self, page: bytes, at: int, size: int) -> None:
        """It follows its event on the same CPU; an interrupt's event and stack may be between."""
        tid, count = self._count(page, at)
        while self._bare:
            event = self._bare.pop()
            if event[TID] == tid:
                room = max(0, min(count, _DEEPEST, (size - self._callers) // 8))
                frames = Struct(f"={room}Q").unpack_from(page, at + self._callers)
                event[STACK] = tuple(frame for frame in frames if frame not in _STACK_END)
                return


def _passed(page: bytes, at: int, entry: int, delta: int, now_ns: int) -> tuple[int, int]:
    """Where and when it goes on behind an entry that is no event."""
    further = _WORD.unpack_from(page, at)[0]
    if entry == _PADDING:
        return (at + further, now_ns + delta) if delta else (len(page), now_ns)
    stamp = further << _DELTA_BITS | delta
    return at + 4, now_ns + stamp if entry == _TIME_EXTEND else now_ns & _STAMP_TOP | stamp


def _task(name: str, one: Format) -> tuple[int, Any]:
    kind, fields = TASKS[name]
    return kind, one.reader("common_pid", *fields).unpack_from


def _lock(name: str, one: Format) -> tuple[int, Any]:
    kind = LOCKS[name]
    names = ["common_pid", "mm", "memcg_id", "write", "success"]
    if "memcg_id" in one.fields and kind == ACQUIRED:
        unpack = one.reader(*names).unpack_from
        return kind, lambda page, at: (*unpack(page, at), ())
    if "memcg_id" in one.fields:
        unpack = one.reader(*names[:-1]).unpack_from
        return kind, lambda page, at: (*unpack(page, at), 1, ())
    # Up to 6.13 it is a path; the cgroup is not told.
    unpack = one.reader(*(n for n in names if n in one.fields)).unpack_from

    def read(page: bytes, at: int) -> tuple[Any, ...]:
        tid, mm, mode, *got = unpack(page, at)
        return tid, mm, 0, mode, got[0] if got else 1, ()

    return kind, read
