"""Names user frames: bpftrace prints addresses, this module finds file and function.

bpftrace's own look-up is not used. Up to 0.23 it is libbcc's, which closes file descriptors at
random while it looks for symbols (bcc 0.26 to 0.32, mended by iovisor/bcc#5193 in 0.33): bpftrace's
own maps and probes go, without a word. And it reads /proc/PID/maps of the stalled process, which
before Linux 6.17 takes the lock that is being watched. Here the maps are read only where that takes
no lock.
"""

import math
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from mmaplock_bt.escaping import plain
from mmaplock_bt.spec.outputs import Output, Outputs
from mmaplock_bt.stream import records
from mmaplock_bt.stream.records import Events, Record
from mmaplock_bt.stream.stacks import Stack
from mmaplock_bt.tracing import elf, perf_map

MAX_FILES = 512
HEARD = 8192
MAPS_SHARE = 200
REMEMBER_S = 0.01
NAMING_S = 1.0  # of the time between the window and its result


@dataclass(frozen=True)
class Mapping:
    """An executable mapping: addresses [start, end) are `path` from `offset` on.

    `file` is device:inode: in two containers one path may be two files.
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
    mapped: dict[tuple[int, int], Mapping] = field(default_factory=dict)
    files: dict[str, BinaryIO] = field(default_factory=dict)
    compiled: dict[int, BinaryIO] = field(default_factory=dict)  # perf maps, by process
    began_s: float = field(default_factory=time.time)
    command: list[Mapping] = field(default_factory=list)
    command_pid: int = 0
    executable: tuple[int, int] | None = None  # the command's
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
            if mappings := _mappings(pid):
                self.command, self.executable = mappings, _executable(pid)
            done_s = time.monotonic()
            self.again_s = done_s + MAPS_SHARE * (done_s - now_s)

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
        tables = self._tables(time.monotonic() + NAMING_S)
        for pid, addresses in self.seen.items():
            unmapped = {address for address in addresses if (pid, address) not in self.mapped}
            named, unread = self._compiled(pid, unmapped), 0
            for address in sorted(addresses):
                mapping = self.mapped.get((pid, address))
                if mapping is not None:
                    named[f"0x{address:x}"] = _named(address, mapping, tables)
                    unread += mapping.file in self.files and mapping.file not in tables
            if named:
                yield records.UserFrames(pid, named, unread)

    def _tables(self, until_s: float) -> dict[str, dict[int, str]]:
        """The functions at the places that were seen, by file: the most seen files first."""
        places: dict[str, set[int]] = defaultdict(set)
        for (_, address), mapping in self.mapped.items():
            if mapping.file in self.files:
                places[mapping.file].add(_place(address, mapping))
        found = {}
        for file in sorted(places, key=lambda file: -len(places[file])):
            if time.monotonic() < until_s:
                found[file] = elf.functions(self.files[file], places[file])
        return found

    def close(self) -> None:
        """Closes the files that were kept open."""
        for file in (*self.files.values(), *self.compiled.values()):
            file.close()

    def _note(self, pid: int, addresses: list[int]) -> None:
        known = self.seen.setdefault(pid, set())
        new = [address for address in addresses if address not in known]
        if not new:
            return
        known.update(new)
        found = {address: _holding(address, self.command) for address in new}
        if None in found.values() or _executable(pid) not in (None, self.executable):
            mappings = _mappings(pid)
            found = {address: _holding(address, mappings) for address in new}
        # Else it is the command or a fork of it, perhaps gone: reading the maps of a process that
        # exits may leave its teardown to the reader, where it is not traced.
        for address, mapping in found.items():
            if mapping is not None:
                self.mapped[pid, address] = mapping
                self._keep(pid, mapping)
        if None in found.values():
            self._keep_compiled(pid)

    def _keep_compiled(self, pid: int) -> None:
        """Opens its perf map now, for the process may go; it is read at the end.

        A compiler writes on and on.
        """
        if pid in self.compiled or len(self.compiled) >= MAX_FILES:
            return
        file = perf_map.opened(pid)
        if file is None and pid == self.command_pid:
            file = perf_map.opened_afterwards(pid, self.began_s)
        if file is not None:
            self.compiled[pid] = file

    def _compiled(self, pid: int, addresses: set[int]) -> dict[str, str]:
        """Names of what lies in no file; they are marked, for the program itself gave them."""
        if pid not in self.compiled:
            return {}
        found = perf_map.names(self.compiled[pid], addresses)
        return {f"0x{address:x}": f"{name} (perf map)" for address, name in found.items()}

    def _keep(self, pid: int, mapping: Mapping) -> None:
        """Opens the file now: the process and its root may be gone when names are looked up."""
        if mapping.file in self.files or mapping.path[0] != "/" or len(self.files) >= MAX_FILES:
            return
        # What the command maps is found without its root too: it sees our files.
        roots = [f"/proc/{pid}/root", *([""] if mapping in self.command else [])]
        for root in roots:
            with suppress(OSError):
                self.files[mapping.file] = Path(root + mapping.path).open("rb")  # noqa: SIM115
                return


def _has_user_stack(output: Output) -> bool:
    names = {column.name for column in output.columns}
    return output.kind == "events" and {"pid", "user_stack"} <= names


def _holding(address: int, mappings: list[Mapping]) -> Mapping | None:
    return next((m for m in mappings if m.start <= address < m.end), None)


def _executable(pid: int) -> tuple[int, int] | None:
    """Device and inode of a process's executable, read without its lock; None if gone."""
    with suppress(OSError):
        found = Path(f"/proc/{pid}/exe").stat()
        return found.st_dev, found.st_ino
    return None


def _mappings(pid: int) -> list[Mapping]:
    found = []
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/maps").read_text(errors="surrogateescape").splitlines():
            span, permissions, offset, device, inode, *rest = line.split(None, 5)
            # Without a path it is memory that a JIT made: its perf map has the names, if any.
            if "x" in permissions and rest:
                start, end = (int(part, 16) for part in span.split("-"))
                found.append(Mapping(start, end, int(offset, 16), f"{device}:{inode}", rest[0]))
    return found


def _place(address: int, mapping: Mapping) -> int:
    """Where in its file an address is."""
    return address - mapping.start + mapping.offset


def _named(address: int, mapping: Mapping, tables: dict[str, dict[int, str]]) -> str:
    place = _place(address, mapping)
    name = plain(Path(mapping.path).name)
    function = tables.get(mapping.file, {}).get(place)
    return f"{function} ({name})" if function else f"{name}+0x{place:x}"
