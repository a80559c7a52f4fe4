"""Functions of ELF files, by their place in the file.

Any process may map a file that is made to break its reader: tables of any size at any place. Tables
are read piece by piece, and nothing is kept of them but the best name for each place; for how long,
and in how much memory, is up to who calls (see function_names).
"""

import re
import struct
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from elftools.elf.elffile import ELFFile

DEBUG_FILES = Path("/usr/lib/debug/.build-id")
MOST_BYTES = 256 << 20  # of a table of symbols: ten million
MOST_HEADERS = 4096  # of sections, and of segments
PIECE_SYMBOLS = 1 << 15
NAME = 4096  # bytes of a name that are read
_KINDS = (2, 10)  # STT_FUNC, and STT_GNU_IFUNC: memcpy and its like
_NOBITS = "SHT_NOBITS"  # so in a debug file are the sections that are in the file itself
_BUILD_ID = re.compile(r"([0-9a-f]{2})([0-9a-f]{2,126})")


class Symbol(NamedTuple):
    """A function: its address and size, and its name."""

    address: int
    size: int
    name: str

    @property
    def rank(self) -> tuple[int, bool, int, str]:
        """What is smallest of the best name: the nearest begin, then the plainest.

        Of several names for one address that is fork, not __GI_fork.
        """
        return -self.address, self.name.startswith("_"), len(self.name), self.name


def functions(file: BinaryIO, offsets: Iterable[int]) -> dict[int, tuple[str, int]]:
    """Returns the function, as the linker wrote it, and how far into it, for offsets in a file.

    Its separate debug file is read, too. What is in no function is left out, and all is where it is
    no ELF file.
    """
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415  (only where used)

    best: dict[int, Symbol] = {}
    try:
        elf = ELFFile(file)
        if elf.num_segments() > MOST_HEADERS or elf.num_sections() > MOST_HEADERS:
            return {}
        places = _addresses(elf, offsets)
        wanted = sorted(set(places.values()))
        _take(best, elf, wanted)
        separate = _debug_file(elf)
        if separate is not None:
            with separate.open("rb") as other:
                _take(best, ELFFile(other), wanted)
    # Any process may map a file that breaks the parser: its frames stay addresses.
    except Exception:
        return {}
    return {
        offset: (best[address].name, address - best[address].address)
        for offset, address in places.items()
        if address in best
    }


def _take(best: dict[int, Symbol], elf: "ELFFile", wanted: list[int]) -> None:
    for address, symbol in _over(elf, wanted):
        best[address] = min(best.get(address, symbol), symbol, key=lambda one: one.rank)


def _addresses(elf: "ELFFile", offsets: Iterable[int]) -> dict[int, int]:
    """The addresses of offsets in the file, by the loaded segments."""
    loaded = [
        (s["p_offset"], s["p_filesz"], s["p_vaddr"])
        for s in elf.iter_segments()
        if s["p_type"] == "PT_LOAD"
    ]
    return {
        offset: offset - start + base
        for offset in offsets
        for start, size, base in loaded
        if start <= offset < start + size
    }


def _over(elf: "ELFFile", wanted: list[int]) -> Iterator[tuple[int, Symbol]]:
    """(address, function over it) for each sorted address that is wanted.

    Symbols are unpacked here, and only those named that are asked for: pyelftools makes an object
    of each, which takes a hundred times as long.
    """
    order = "<" if elf.little_endian else ">"
    # Elf64_Sym: name, info, other, section, value, size; Elf32_Sym: name, value, size, info, ...
    entry = struct.Struct(order + ("IBBHQQ" if elf.elfclass == 64 else "IIIBBH"))
    name_at, info, value, size_at = (0, 1, 4, 5) if elf.elfclass == 64 else (0, 3, 1, 2)
    for table in map(elf.get_section_by_name, (".symtab", ".dynsym")):
        if table is None or table["sh_type"] == _NOBITS or table["sh_size"] > MOST_BYTES:
            continue
        names = elf.get_section(table["sh_link"])
        for one in _entries(elf, table, entry):
            start, size = one[value], one[size_at]
            at = bisect_left(wanted, start)
            if at == len(wanted) or wanted[at] >= start + size:
                continue
            if start and one[info] & 15 in _KINDS:
                symbol = Symbol(start, size, _name(elf, names, one[name_at]))
                for address in wanted[at : bisect_left(wanted, start + size)]:
                    yield address, symbol


def _entries(elf: "ELFFile", table: Any, entry: struct.Struct) -> Iterator[tuple[Any, ...]]:
    """The symbols of a section, as they stand in the file."""
    at, end = table["sh_offset"], table["sh_offset"] + table["sh_size"]
    while at < end:
        data = _read(elf, at, min(PIECE_SYMBOLS * entry.size, end - at))
        whole = len(data) // entry.size * entry.size
        if not whole:
            return
        yield from entry.iter_unpack(data[:whole])
        at += whole


def _name(elf: "ELFFile", names: Any, at: int) -> str:
    if at >= names["sh_size"]:
        return ""
    found = _read(elf, names["sh_offset"] + at, min(NAME, names["sh_size"] - at))
    return found.partition(b"\0")[0].decode(errors="backslashreplace")


def _read(elf: "ELFFile", at: int, size: int) -> bytes:
    elf.stream.seek(at)
    return bytes(elf.stream.read(size))


def _debug_file(elf: "ELFFile") -> Path | None:
    """The separate debugging symbols that a distribution's package installs, by build id."""
    section: Any = elf.get_section_by_name(".note.gnu.build-id")
    for note in section.iter_notes() if section is not None else ():
        identity = _BUILD_ID.fullmatch(str(note["n_desc"]))
        path = DEBUG_FILES / identity[1] / f"{identity[2]}.debug" if identity else None
        return path if path is not None and path.exists() else None
    return None
