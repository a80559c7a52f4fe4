"""Functions of ELF files, by their place in the file."""

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from elftools.elf.elffile import ELFFile

DEBUG_FILES = Path("/usr/lib/debug/.build-id")


@dataclass
class Symbols:
    """The functions of an ELF file; `segments` turn offsets in the file into addresses."""

    segments: list[tuple[int, int, int]] = field(default_factory=list)  # offset, size, address
    starts: list[int] = field(default_factory=list)
    functions: list[tuple[int, int, str]] = field(default_factory=list)  # address, size, name

    def function(self, offset: int) -> str | None:
        """Returns 'name+decimal offset', as bpftrace writes it, for an offset in the file.

        None where no function is.
        """
        for start, size, base in self.segments:
            if start <= offset < start + size:
                address = offset - start + base
                at = bisect_right(self.starts, address) - 1
                if at >= 0 and address < self.functions[at][0] + self.functions[at][1]:
                    return f"{_demangled(self.functions[at][2])}+{address - self.functions[at][0]}"
        return None


def symbols(file: BinaryIO) -> Symbols:
    """Reads the functions of a file and of its separate debug file.

    There are none where it is no ELF file.
    """
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415  (only where used)

    found = Symbols()
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
    # Any process may map a file that breaks the parser: its frames stay addresses.
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
            # STT_LOOS is STT_GNU_IFUNC: memcpy and its like.
            if kind in ("STT_FUNC", "STT_LOOS") and symbol["st_value"] and symbol["st_size"]:
                yield symbol["st_value"], symbol["st_size"], symbol.name


def _debug_file(elf: "ELFFile") -> Path | None:
    """The separate debugging symbols that a distribution's package installs, by build id."""
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
