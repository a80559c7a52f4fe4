"""Functions of ELF files, by their place in the file."""

import struct
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from elftools.elf.elffile import ELFFile

DEBUG_FILES = Path("/usr/lib/debug/.build-id")
MOST_BYTES = 256 << 20  # of a table of symbols: ten million
_KINDS = (2, 10)  # STT_FUNC, and STT_GNU_IFUNC: memcpy and its like
_NOBITS = "SHT_NOBITS"  # so in a debug file are the sections that are in the file itself


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


def functions(file: BinaryIO, offsets: Iterable[int]) -> dict[int, str]:
    """Returns 'name+decimal offset', as bpftrace writes it, for offsets in a file.

    Its separate debug file is read, too. What is in no function is left out, and all is where it is
    no ELF file.
    """
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415  (only where used)

    try:
        elf = ELFFile(file)
        places = _addresses(elf, offsets)
        wanted = sorted(set(places.values()))
        found = list(_over(elf, wanted))
        separate = _debug_file(elf)
        if separate is not None:
            with separate.open("rb") as other:
                found += _over(ELFFile(other), wanted)
    # Any process may map a file that breaks the parser: its frames stay addresses.
    except Exception:
        return {}
    best: dict[int, Symbol] = {}
    for address, symbol in found:
        best[address] = min(best.get(address, symbol), symbol, key=lambda one: one.rank)
    return {
        offset: f"{_demangled(best[address].name)}+{address - best[address].address}"
        for offset, address in places.items()
        if address in best
    }


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
        names, data = _tables(elf, table)
        for one in entry.iter_unpack(data[: len(data) // entry.size * entry.size]):
            start, size = one[value], one[size_at]
            at = bisect_left(wanted, start)
            if at == len(wanted) or wanted[at] >= start + size:
                continue
            if start and one[info] & 15 in _KINDS:
                symbol = Symbol(start, size, _name(names, one[name_at]))
                for address in wanted[at : bisect_left(wanted, start + size)]:
                    yield address, symbol


def _tables(elf: "ELFFile", section: Any) -> tuple[bytes, bytes]:
    """The names and the entries of a section of symbols; empty where there is none to be read."""
    if section is None or section["sh_type"] == _NOBITS or section["sh_size"] > MOST_BYTES:
        return b"", b""
    return elf.get_section(section["sh_link"]).data(), section.data()


def _name(names: bytes, at: int) -> str:
    return names[at : names.index(b"\0", at)].decode(errors="backslashreplace")


def _debug_file(elf: "ELFFile") -> Path | None:
    """The separate debugging symbols that a distribution's package installs, by build id."""
    section: Any = elf.get_section_by_name(".note.gnu.build-id")
    for note in section.iter_notes() if section is not None else ():
        identity = str(note["n_desc"])
        path = DEBUG_FILES / identity[:2] / f"{identity[2:]}.debug"
        return path if path.exists() else None
    return None


def _demangled(name: str) -> str:
    if not name.startswith("_Z"):
        return name
    import cxxfilt  # noqa: PLC0415  (looks for a C++ library)

    with suppress(cxxfilt.Error, OSError):
        return str(cxxfilt.demangle(name))
    return name
