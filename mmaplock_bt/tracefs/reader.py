"""Reads an instance's buffers, one for each CPU, as one list of events in the order of time."""

import mmap
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from operator import itemgetter
from pathlib import Path

from mmaplock_bt.errors import TargetError
from mmaplock_bt.tracefs import formats
from mmaplock_bt.tracefs.formats import Format
from mmaplock_bt.tracefs.instance import Instance
from mmaplock_bt.tracefs.pages import KERNEL_STACK, LOCKS, TASKS, TIME, Event, Pages

HELD = 200_000  # events that may wait for another CPU's: some 50 MB
AT_ONCE = 256  # pages of a CPU, between two looks at all the others
# An event has its time before it is in the buffer, and its stack comes after it: what is younger
# than this waits, lest something older comes from another CPU.
YOUNG_NS = 10 * 10**6
BUFFER_BYTES = 64 << 20  # of all CPUs together; a CPU has no less than LEAST_BYTES
LEAST_BYTES = 1 << 20
_time_of = itemgetter(TIME)


class Reader:
    """Reads all CPUs of an instance; a context manager. Raises TargetError."""

    def __init__(self, instance: Instance, tracefs: Path) -> None:
        events = tracefs / "events"
        header = formats.parse(_text(events / "header_page"))
        found = {
            name: formats.parse(_text(events / name / "format"))
            for name in (*LOCKS, *TASKS, KERNEL_STACK)
        }
        self._instance = instance
        self._page = _size(header)
        self._header, self._formats = header, found
        self._files: dict[int, Pages] = {}
        self._read_ns: dict[int, int] = {}  # up to when a file has been read
        self._waiting: list[Event] = []

    def __enter__(self) -> "Reader":
        with ExitStack() as stack:
            for folder in self._instance.cpus():
                path = folder / "trace_pipe_raw"
                try:
                    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                except OSError as error:
                    mend = "see whether another reader has it open"
                    raise TargetError(f"cannot read {path}: {error.strerror}", mend) from error
                stack.callback(os.close, file)
                self._files[file] = Pages(self._header, self._formats)
                self._read_ns[file] = 0
            self._closing = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def read(self) -> list[Event]:
        """Returns the next events, without those that something older may still come before."""
        until_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        late = min(self._read_ns, key=self._read_ns.__getitem__)
        is_full = len(self._waiting) > HELD
        for file, pages in self._files.items():
            if is_full and file != late:  # what waits, waits for this one: it is read alone
                until_ns = min(until_ns, self._read_ns[file])
                continue
            found, is_whole = self._some(file, pages)
            self._waiting += found
            self._read_ns[file] = until_ns if is_whole or not found else found[-1][TIME]
            until_ns = min(until_ns, self._read_ns[file])
        return self._until(until_ns - YOUNG_NS)

    def rest(self) -> Iterator[list[Event]]:
        """Yields all that is there, to be asked for when nothing new is recorded."""
        while True:
            before = len(self._waiting)
            events = self.read()
            if events:
                yield events
            elif len(self._waiting) == before:
                break
        yield self._until(2**64)

    def _some(self, file: int, pages: Pages) -> tuple[list[Event], bool]:
        """A CPU's next events, and whether these are all that there are."""
        found: list[Event] = []
        for _ in range(AT_ONCE):
            try:
                page = os.read(file, self._page)
            except BlockingIOError:
                return found, True
            if not page:
                return found, True
            found += pages.read(page)
        return found, False

    def _until(self, until_ns: int) -> list[Event]:
        waiting = self._waiting
        waiting.sort(key=_time_of)
        if not waiting or waiting[-1][TIME] < until_ns:
            self._waiting = []
            return waiting
        low, high = 0, len(waiting)
        while low < high:
            middle = (low + high) // 2
            if waiting[middle][TIME] < until_ns:
                low = middle + 1
            else:
                high = middle
        self._waiting = waiting[low:]
        return waiting[:low]


def buffer_kib(cpus: int) -> int:
    """Returns the size of each CPU's buffer, in KiB."""
    return max(LEAST_BYTES, BUFFER_BYTES // max(1, cpus)) >> 10


def _size(header: Format) -> int:
    """A page's: that of a sub-buffer, which may be more than the machine's."""
    data = header.fields["data"]
    return max(mmap.PAGESIZE, data.offset + data.size)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise TargetError(f"cannot read {path}: {error.strerror}", "run it as root") from error
