"""Names user frames: bpftrace prints addresses, this module finds file and function.

bpftrace's own look-up is not used. Up to 0.23 it is libbcc's, which closes file descriptors at
random while it looks for symbols (bcc 0.26 to 0.32, mended by iovisor/bcc#5193 in 0.33): bpftrace's
own maps and probes go, without a word. And it reads /proc/PID/maps of the stalled process, which
before Linux 6.17 takes the lock that is being watched. Here the maps are read only where that takes
no lock; where the kernel falls back to it after all (a mapping that is being written to), nobody
waits longer than PATIENCE_S, and that process is not asked again.

All that is read belongs to strangers: see foreign_files for how it is opened, function_names for
how it is read.
"""

import math
import time
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeVar

from mmaplock_bt.escaping import plain
from mmaplock_bt.spec.outputs import Output, Outputs
from mmaplock_bt.stream import records
from mmaplock_bt.stream.records import Events, Record
from mmaplock_bt.stream.stacks import Stack
from mmaplock_bt.tracing import foreign_files, function_names, patience, perf_map
from mmaplock_bt.tracing.function_names import Asked, Names

MAX_FILES = 256
MAX_MAPS = 64  # perf maps
MAX_TRIES = 2  # to open a file: another process may still have it
MAX_PLACES = 100_000
MAPS_BYTES = 16 << 20  # of one process: 150,000 mappings
HEARD = 8192
MAPS_SHARE = 200
REMEMBER_S = 0.01
PATIENCE_S = 0.25  # with one process's file
LOOKING_S = 2.0  # with all of them while the window is open, and
LOOKING_SHARE = 20  # one in so many of its seconds
NAMING_S = 2.0  # of the time between the window and its result
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Mapping:
    """Executable mapping of a file: addresses [start, end) are `path` from `offset` on.

    `file` is device:inode: in two containers, and before and after an update, one path may be two
    files. Empty where there is no code of a file; such neighbours are one.
    """

    start: int
    end: int
    offset: int
    file: str
    path: str


@dataclass
class UserFrames:
    """A listener that keeps mappings while processes live, and names addresses at the end."""

    outputs: frozenset[str]  # those of events with a pid and a user stack
    heard: set[tuple[int, Stack]] = field(default_factory=set)  # most come again and again
    seen: dict[int, set[int]] = field(default_factory=dict)
    places: int = 0  # that were looked at
    mapped: dict[tuple[int, int], Mapping] = field(default_factory=dict)
    files: dict[str, BinaryIO] = field(default_factory=dict)
    tries: Counter[str] = field(default_factory=Counter)  # that did not open a file
    compiled: dict[int, BinaryIO] = field(default_factory=dict)  # perf maps, by process
    stuck: set[int] = field(default_factory=set)  # processes that are not asked again
    unseen: Counter[int] = field(default_factory=Counter)  # addresses there was no time for
    began_s: float = field(default_factory=time.time)
    spent_s: float = -LOOKING_S  # beyond what is always free
    command: list[Mapping] = field(default_factory=list)
    data: set[int] = field(default_factory=set)  # addresses that are no code of the command's
    command_pid: int = 0
    executable: str | None = None  # the command's
    again_s: float = 0.0

    @classmethod
    def for_outputs(cls, outputs: Outputs) -> "UserFrames":
        """Makes a listener for the outputs whose events have a pid and a user stack."""
        return cls(frozenset(n for n, o in outputs.items() if _has_user_stack(o)))

    def patience_s(self) -> float:
        """Returns how long it may take, in s, until mappings are to be remembered again."""
        return REMEMBER_S if self.outputs else math.inf

    def remember(self, pid: int) -> None:
        """Keeps the traced command's mappings: its last events arrive when it is gone.

        To be called over and over: reading takes at most 1/MAPS_SHARE of the time.
        """
        now_s = time.monotonic()
        self.command_pid = pid
        if self.outputs and now_s >= self.again_s:
            self._renew()
            done_s = time.monotonic()
            self.again_s = done_s + MAPS_SHARE * (done_s - now_s)

    def _renew(self) -> bool:
        """Reads the command's mappings; whether it is still there."""
        mappings = self._mappings(self.command_pid)
        if mappings:
            self.command, self.executable = mappings, _executable(self.command_pid)
        return bool(mappings)

    def hear(self, record: Record) -> Iterator[Record]:
        """Notes the addresses of user stacks and what is mapped there; adds no record."""
        if isinstance(record, Events) and record.output in self.outputs:
            pairs = zip(record.column("pid"), record.column("user_stack"), strict=True)
            for pair in dict.fromkeys(pairs):
                if pair not in self.heard:
                    self._hear(*pair)
        yield from ()

    def _hear(self, pid: int, stack: Stack) -> None:
        self._note(pid, [int(address, 16) for address in stack])
        if len(self.heard) >= HEARD:
            self.heard.clear()
        self.heard.add((pid, stack))

    def told(self) -> Iterator[Record]:
        """Yields a record for each process, with the frames that were found.

        For no longer than NAMING_S: frames in files that were not read by then stay places.
        """
        names = function_names.found([*self._asked_files(), *self._asked_maps()], NAMING_S)
        for pid in sorted(self.seen.keys() | self.unseen.keys()):
            named, unread = {}, self.unseen[pid]
            for address in sorted(self.seen.get(pid, ())):
                mapping = self.mapped.get((pid, address))
                if name := names.of("perf map", str(pid), address):
                    # They are marked, for the program itself gave them.
                    named[f"0x{address:x}"] = f"{name} (perf map)"
                elif mapping is not None:
                    named[f"0x{address:x}"] = _named(address, mapping, names)
                    unread += mapping.file in self.files and not names.was_read("elf", mapping.file)
            if named or unread:
                yield records.UserFrames(pid, named, unread)

    def _asked_files(self) -> Iterator[Asked]:
        places: dict[str, set[int]] = defaultdict(set)
        for (_, address), mapping in self.mapped.items():
            places[mapping.file].add(_place(address, mapping))
        for file, opened in self.files.items():
            yield Asked("elf", file, opened, frozenset(places[file]))

    def _asked_maps(self) -> Iterator[Asked]:
        for pid, opened in self.compiled.items():
            compiled = {one for one in self.seen[pid] if self._is_compiled(pid, one)}
            yield Asked("perf map", str(pid), opened, frozenset(compiled))

    def _is_compiled(self, pid: int, address: int) -> bool:
        """Whether it lies in no file that is open: where a JIT puts its code has many names.

        Among them are /dev/zero (shared memory of no file) and /memfd:doublemapper (.NET).
        """
        mapping = self.mapped.get((pid, address))
        return mapping is None or mapping.file not in self.files

    def close(self) -> None:
        """Closes the files that were kept open."""
        for file in (*self.files.values(), *self.compiled.values()):
            file.close()

    def _note(self, pid: int, addresses: list[int]) -> None:
        known = self.seen.get(pid, set())
        new = [address for address in addresses if address not in known]
        if not new:
            return
        if self._is_spent():
            few = pid in self.unseen or len(self.unseen) < HEARD
            self.unseen[pid if few else 0] += len(new)
            return
        began_s = time.thread_time()
        self.seen[pid] = known | set(new)
        self.places += len(new)
        self._look(pid, new)
        self.spent_s += time.thread_time() - began_s

    def _is_spent(self) -> bool:
        """Whether looking has taken its share: any process makes as much work as it likes."""
        share_s = (time.time() - self.began_s) / LOOKING_SHARE
        return self.spent_s > share_s or self.places >= MAX_PLACES

    def _look(self, pid: int, new: list[int]) -> None:
        found = self._of_command(new)
        if None in found.values() or _executable(pid) not in (None, self.executable):
            found = _holding(new, self._mappings(pid))
        # Else it is the command or a fork of it, perhaps gone: reading the maps of a process that
        # exits may leave its teardown to the reader, where it is not traced.
        for address, mapping in found.items():
            if mapping is not None and mapping.file:
                self.mapped[pid, address] = mapping
                self._keep(pid, mapping)
        if any(self._is_compiled(pid, address) for address in new):
            self._keep_compiled(pid)

    def _of_command(self, new: list[int]) -> dict[int, Mapping | None]:
        """The command's mapping of each address; None where it has none, or that is not known.

        What was no code when it was remembered may be some by now: a library is mapped in pieces.
        """
        found = _holding(new, self.command)
        doubtful = {one for one, m in found.items() if m is not None and not m.file} - self.data
        if doubtful and self._renew():
            self.data |= doubtful
            return _holding(new, self.command)
        return found | dict.fromkeys(doubtful)

    def _patiently(self, pid: int, work: Callable[[], _T]) -> _T | None:
        """What work() returns; None where it takes too long, which is not tried again."""
        if pid in self.stuck:
            return None
        done = patience.waited(PATIENCE_S, work)
        self.spent_s += done.took_s
        if done.hangs:
            self.stuck.add(pid)
        return done.found

    def _mappings(self, pid: int) -> list[Mapping]:
        return self._patiently(pid, lambda: _mappings(pid)) or []

    def _keep_compiled(self, pid: int) -> None:
        """Opens its perf map now, for the process may go; it is read at the end.

        A compiler writes on and on.
        """
        if pid in self.compiled or len(self.compiled) >= MAX_MAPS:
            return
        file = self._patiently(pid, lambda: perf_map.opened(pid))
        if file is None and pid == self.command_pid:
            began_s = self.began_s
            file = self._patiently(pid, lambda: perf_map.opened_afterwards(pid, began_s))
        if file is not None:
            self.compiled[pid] = file

    def _keep(self, pid: int, mapping: Mapping) -> None:
        """Opens the file now: the process and its root may be gone when names are looked up."""
        file = mapping.file
        if file in self.files or len(self.files) >= MAX_FILES or self.tries[file] >= MAX_TRIES:
            return
        # Ours, too: a path is told as it is from our root, the process may have another or be gone.
        for process in (pid, "self"):
            opened = self._patiently(pid, lambda one=process: _opened(one, mapping))  # type: ignore[misc]
            if opened is not None:
                self.files[file] = opened
                return
        self.tries[file] += 1


def _has_user_stack(output: Output) -> bool:
    names = {column.name for column in output.columns}
    return output.kind == "events" and {"pid", "user_stack"} <= names


def _holding(addresses: list[int], mappings: list[Mapping]) -> dict[int, Mapping | None]:
    """The mapping of each address; they are in order, as the kernel tells them."""
    starts = [one.start for one in mappings]
    found: dict[int, Mapping | None] = {}
    for address in addresses:
        at = bisect_right(starts, address) - 1
        found[address] = mappings[at] if at >= 0 and address < mappings[at].end else None
    return found


def _executable(pid: int) -> str | None:
    """Which file a process executes, told without its lock and by no file system; None if gone."""
    with suppress(OSError, ValueError, KeyError):
        return foreign_files.executable(pid)
    return None


def _mappings(pid: int) -> list[Mapping]:
    """All of a process's, in order.

    Code without frame pointers leaves frames that are none. What is known to lie in data, on the
    heap or the stack need not be asked for again.
    """
    found: list[Mapping] = []
    begin = end = "0"
    with Path(f"/proc/{pid}/maps").open(encoding="utf-8", errors="surrogateescape") as file:
        for line in file.read(MAPS_BYTES).rpartition("\n")[0].splitlines():
            span, permissions, rest = line.split(None, 2)
            start, _, until = span.partition("-")
            code = _code(start, until, rest) if "x" in permissions else None
            if code or start != end:
                found += _without_code(begin, end)
                begin = until if code else start
            if code:
                found.append(code)
            end = until
    return found + _without_code(begin, end)


def _without_code(start: str, end: str) -> list[Mapping]:
    return [Mapping(int(start, 16), int(end, 16), 0, "", "")] if start != end else []


def _code(start: str, end: str, rest: str) -> Mapping | None:
    """None without a path: memory that a JIT made. Its perf map has the names, if any."""
    offset, device, inode, *path = rest.split(None, 3)
    if not path:
        return None
    return Mapping(int(start, 16), int(end, 16), int(offset, 16), f"{device}:{inode}", path[0])


def _opened(process: int | str, mapping: Mapping) -> BinaryIO | None:
    """The file that is mapped, and no other that lies there by now."""
    if mapping.path[0] != "/":
        return None
    found = foreign_files.opened(process, mapping.path)
    if found is None:
        return None
    file, identity = found
    if identity == mapping.file:
        return file
    file.close()
    return None


def _place(address: int, mapping: Mapping) -> int:
    """Where in its file an address is."""
    return address - mapping.start + mapping.offset


def _named(address: int, mapping: Mapping, names: Names) -> str:
    place = _place(address, mapping)
    name = plain(Path(mapping.path).name)
    function = names.of("elf", mapping.file, place)
    return f"{plain(function)} ({name})" if function else f"{name}+0x{place:x}"
