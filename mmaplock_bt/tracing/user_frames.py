"""Names user frames: bpftrace prints addresses, this finds the file and the function.

bpftrace does not do it: up to 0.23 it uses libbcc, which closes file descriptors at random while it
looks for symbols (bcc 0.26 to 0.32, mended by iovisor/bcc#5193 in 0.33): its own maps and probes,
without a word. And it reads /proc/PID/maps of the stalled process, which before Linux 6.17 takes
the lock that is being watched. Here the maps are read only where that takes no lock.
"""

import json
import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from mmaplock_bt.spec.declaration import Output
from mmaplock_bt.stream import bpftrace_json

if TYPE_CHECKING:
    from elftools.elf.elffile import ELFFile

RECORD = "mmaplock-bt-frames"
MAX_FILES = 512
MAPS_SHARE = 200
DEBUG_FILES = Path("/usr/lib/debug/.build-id")


@dataclass(frozen=True)
class Mapping:
    """One executable mapping: addresses [start, end) come from `path`, from `offset` on.

    `file` is device:inode: in two containers one path may be two files.
    """

    start: int
    end: int
    offset: int
    file: str
    path: str


@dataclass
class UserFrames:
    """Notes mappings while processes live; names the addresses once the window is closed."""

    outputs: dict[str, Output]  # those of events with a pid and a user stack
    seen: dict[int, set[int]] = field(default_factory=dict)
    mapped: dict[tuple[int, int], Mapping] = field(default_factory=dict)
    files: dict[str, BinaryIO] = field(default_factory=dict)
    command: list[Mapping] = field(default_factory=list)
    executable: tuple[int, int] | None = None  # the command's
    again_s: float = 0.0

    @classmethod
    def of(cls, outputs: dict[str, Output]) -> "UserFrames":
        return cls({name: output for name, output in outputs.items() if _has_user_stack(output)})

    def remember(self, pid: int) -> None:
        """Keeps the mappings of the traced command: its last events arrive when it is gone.

        Called over and over; reading takes at most 1/MAPS_SHARE of the time.
        """
        now_s = time.monotonic()
        if self.outputs and now_s >= self.again_s:
            if mappings := _mappings(pid):
                self.command, self.executable = mappings, _executable(pid)
            done_s = time.monotonic()
            self.again_s = done_s + MAPS_SHARE * (done_s - now_s)

    def watch(self, lines: Iterable[str]) -> Iterator[str]:
        """Passes the stream on, noting who the user stacks in it belong to."""
        for line in lines:
            yield line
            if any(f'"{name}|' in line for name in self.outputs):
                for record in bpftrace_json.parse([line]):
                    if isinstance(record, bpftrace_json.Printed) and record.name in self.outputs:
                        self._see(self.outputs[record.name].cut(record.rest))

    def records(self) -> Iterator[str]:
        """A line of the raw stream for each process, with the frames that have a name."""
        tables: dict[str, _Symbols] = {}
        for pid, addresses in self.seen.items():
            named = {}
            for address in sorted(addresses):
                mapping = self.mapped.get((pid, address))
                if mapping is not None:
                    named[f"0x{address:x}"] = _named(address, mapping, self.files, tables)
            if named:
                yield json.dumps({"type": RECORD, "pid": pid, "frames": named})
        for file in self.files.values():
            file.close()

    def _see(self, parts: dict[str, str] | None) -> None:
        """A record that cannot be cut is the analysis' to report."""
        if parts is not None and parts["pid"].isdecimal():
            self._note(int(parts["pid"]), addresses(parts["user_stack"]))

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


def addresses(text: str) -> list[int]:
    """A raw user stack as any version prints it: hexadecimal, with or without 0x; 0 is no frame."""
    found = []
    for word in text.split():
        with suppress(ValueError):
            found.append(int(word, 16))
    return [address for address in found if address]


def _holding(address: int, mappings: list[Mapping]) -> Mapping | None:
    return next((m for m in mappings if m.start <= address < m.end), None)


def _executable(pid: int) -> tuple[int, int] | None:
    """Device and inode of what it runs, read without its lock; None when it is gone."""
    with suppress(OSError):
        found = Path(f"/proc/{pid}/exe").stat()
        return found.st_dev, found.st_ino
    return None


def _mappings(pid: int) -> list[Mapping]:
    found = []
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/maps").read_text(errors="surrogateescape").splitlines():
            span, permissions, offset, device, inode, *rest = line.split(None, 5)
            if "x" in permissions and rest:
                start, end = (int(part, 16) for part in span.split("-"))
                found.append(Mapping(start, end, int(offset, 16), f"{device}:{inode}", rest[0]))
    return found


def _named(
    address: int, mapping: Mapping, files: dict[str, BinaryIO], tables: dict[str, "_Symbols"]
) -> str:
    offset = address - mapping.start + mapping.offset
    name = Path(mapping.path).name
    if mapping.file not in files:
        return f"{name}+0x{offset:x}"
    if mapping.file not in tables:
        tables[mapping.file] = _symbols(files[mapping.file])
    function = tables[mapping.file].function(offset)
    return f"{function} ({name})" if function else f"{name}+0x{offset:x}"


@dataclass
class _Symbols:
    """Functions of one ELF file, by virtual address; `segments` turn a file offset into one."""

    segments: list[tuple[int, int, int]] = field(default_factory=list)  # offset, size, address
    starts: list[int] = field(default_factory=list)
    functions: list[tuple[int, int, str]] = field(default_factory=list)  # address, size, name

    def function(self, offset: int) -> str | None:
        """'name+decimal offset', as bpftrace writes it; None when no function is there."""
        for start, size, base in self.segments:
            if start <= offset < start + size:
                address = offset - start + base
                at = bisect_right(self.starts, address) - 1
                if at >= 0 and address < self.functions[at][0] + self.functions[at][1]:
                    return f"{_demangled(self.functions[at][2])}+{address - self.functions[at][0]}"
        return None


def _symbols(file: BinaryIO) -> _Symbols:
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415  (only where used)

    found = _Symbols()
    try:
        elf = ELFFile(file)
        found.segments = [
            (s["p_offset"], s["p_filesz"], s["p_vaddr"])
            for s in elf.iter_segments()
            if s["p_type"] == "PT_LOAD"
        ]
        functions = set(_functions(elf))
        separate = _debug_file(elf)
        if separate is not None:
            with separate.open("rb") as other:
                functions |= set(_functions(ELFFile(other)))
    except Exception:
        return found
    # Of several names for one address the plainest: fork, not __GI_fork.
    plain = sorted(functions, key=lambda f: (f[0], f[2].startswith("_"), len(f[2])), reverse=True)
    found.functions = sorted({start: (start, size, name) for start, size, name in plain}.values())
    found.starts = [start for start, _, _ in found.functions]
    return found


def _functions(elf: "ELFFile") -> Iterator[tuple[int, int, str]]:
    for name in (".symtab", ".dynsym"):
        section: Any = elf.get_section_by_name(name)
        # In a separate debug file the copies of the loaded sections are empty (SHT_NOBITS).
        for symbol in section.iter_symbols() if hasattr(section, "iter_symbols") else ():
            kind = symbol["st_info"]["type"]
            if kind in ("STT_FUNC", "STT_LOOS") and symbol["st_value"] and symbol["st_size"]:
                yield symbol["st_value"], symbol["st_size"], symbol.name


def _debug_file(elf: "ELFFile") -> Path | None:
    """The separate debugging symbols of a distribution's package, by build id."""
    section: Any = elf.get_section_by_name(".note.gnu.build-id")
    for note in section.iter_notes() if section is not None else ():
        identity = str(note["n_desc"])
        path = DEBUG_FILES / identity[:2] / f"{identity[2:]}.debug"
        return path if path.exists() else None
    return None


def _demangled(name: str) -> str:
    import cxxfilt  # noqa: PLC0415  (looks for a C++ library)

    with suppress(cxxfilt.Error, OSError):
        return str(cxxfilt.demangle(name))
    return name
