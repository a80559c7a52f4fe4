"""Functions in ELF files: by the linker's own word, and in files made here."""

import ctypes
import io
import os
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmaplock_bt.tracing import elf

FUNC, OBJECT, IFUNC = 2, 1, 10
BASE, PLACED = 0x1000, 0x400  # where the file's bytes from PLACED on are loaded
SYMBOLS = [
    ("one", 0x1000, 0x10, FUNC),
    ("__GI_two", 0x1010, 0x20, FUNC), ("two", 0x1010, 0x20, FUNC), ("_two", 0x1010, 0x20, FUNC),
    ("data", 0x1010, 0x20, OBJECT),
    ("outer", 0x1040, 0x40, FUNC), ("inner", 0x1050, 0x10, IFUNC),
    ("elsewhere", 0, 0x10, FUNC), ("empty", 0x1030, 0, FUNC),
    ("_ZN3foo3barEv", 0x1090, 0x10, FUNC),
]  # fmt: skip


def file(bits: int, order: str, symbols=SYMBOLS, *, no_bits: bool = False) -> io.BytesIO:
    """An ELF file with one loaded segment and a table of symbols."""
    wide = bits == 64
    word = "Q" if wide else "I"
    names = b"\0" + b"".join(name.encode() + b"\0" for name, *_ in symbols)
    shown = b"\0.symtab\0.strtab\0.shstrtab\0"
    table = b"".join(
        struct.pack(order + "IBBHQQ", names.index(b"\0" + n.encode() + b"\0") + 1, kind, 0, 1, a, s)
        if wide else
        struct.pack(order + "IIIBBH", names.index(b"\0" + n.encode() + b"\0") + 1, a, s, kind, 0, 1)
        for n, a, s, kind in symbols
    )  # fmt: skip
    size, segment, section, entry = (64, 56, 64, 24) if wide else (52, 32, 40, 16)
    at = size + segment
    bodies, sections = b"", [(0, 0, 0, 0, 0, 0)]
    for name, kind, link, body in ((1, 8 if no_bits else 2, 2, table), (9, 3, 0, names),
                                   (17, 3, 0, shown)):  # fmt: skip
        sections.append((name, kind, at + len(bodies), len(body), link, entry if link else 0))
        bodies += body
    head = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    head += struct.pack(order + f"HHI{word * 3}IHHHHHH", 3, 62 if wide else 20, 1, 0, size,
                        at + len(bodies), 0, size, segment, 1, section, 4, 3)  # fmt: skip
    if wide:
        load = struct.pack(order + "IIQQQQQQ", 1, 5, PLACED, BASE, BASE, 0x200, 0x200, 0x1000)
    else:
        load = struct.pack(order + "IIIIIIII", 1, PLACED, BASE, BASE, 0x200, 0x200, 5, 0x1000)
    entries = order + f"II{word * 4}II{word * 2}"
    told = b"".join(
        struct.pack(entries, n, kind, 0, 0, begin, length, link, 0, 1, e)
        for n, kind, begin, length, link, e in sections
    )  # fmt: skip
    return io.BytesIO(head + load + bodies + told)


def said(file, offsets):
    return {place: f"{name}+{into}" for place, (name, into) in elf.functions(file, offsets).items()}


def at(address: int) -> int:
    return address - BASE + PLACED


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_function_is_found_by_its_place(bits, order):
    expected = {
        0x1000: "one+0", 0x100F: "one+15", 0x1010: "two+0", 0x102F: "two+31",
        0x1040: "outer+0", 0x1055: "inner+5", 0x1065: "outer+37", 0x1095: "_ZN3foo3barEv+5",
    }  # fmt: skip
    nowhere = [0x1030, 0x1080, 0x11FF, 0x1200]
    asked = [at(address) for address in (*expected, *nowhere)] + [5]
    found = said(file(bits, order), asked)
    assert found == {at(address): name for address, name in expected.items()}


def test_what_is_no_whole_elf_file_has_no_functions():
    whole = file(64, "<").getvalue()
    for cut in (0, 3, 40, 100, 200, len(whole) - 30):
        assert elf.functions(io.BytesIO(whole[:cut]), [at(0x1000)]) == {}
    assert elf.functions(file(64, "<", no_bits=True), [at(0x1000)]) == {}


def test_a_table_that_is_too_large_is_not_read(monkeypatch):
    monkeypatch.setattr(elf, "MOST_BYTES", 10)
    assert elf.functions(file(64, "<"), [at(0x1000)]) == {}


def test_names_are_the_linkers():
    """dlsym() says where functions of the C library are, /proc/self/maps what is mapped there."""
    libc = ctypes.CDLL("libc.so.6")  # itself: of None a python that is no PIE has its own stubs
    for name in ("malloc", "getpid", "strtol"):
        address = ctypes.cast(getattr(libc, name), ctypes.c_void_p).value
        for line in Path("/proc/self/maps").read_text().splitlines():
            span, _, offset, _, _, *path = line.split()
            start, end = (int(part, 16) for part in span.split("-"))
            if address is not None and start <= address < end:
                place = address - start + int(offset, 16)
                with Path(path[0]).open("rb") as mapped:
                    ((found, into),) = elf.functions(mapped, [place + 1]).values()
                assert into == 1 and name in found


@given(
    st.sampled_from([(32, "<"), (64, "<"), (64, ">")]),
    st.lists(st.tuples(st.integers(0, 2000), st.binary(min_size=1, max_size=9)), max_size=5),
)
@settings(deadline=3000, max_examples=50)
def test_no_header_breaks_it(kind, patches):
    """In time, and with names for nothing but what was asked."""
    text = bytearray(file(*kind).getvalue())
    for place, patch in patches:
        begin = place % len(text)
        text[begin : begin + len(patch)] = patch
    assert set(elf.functions(io.BytesIO(bytes(text)), [at(0x1000), 5])) <= {at(0x1000), 5}


@pytest.mark.parametrize("entries", ["segments", "sections", "symbols"])
def test_headers_that_promise_too_much_are_not_followed(entries, tmp_path):
    """As in a sparse file: the bytes are all there, and zero."""
    whole = bytearray(file(64, "<").getvalue())
    if entries == "segments":
        struct.pack_into("<H", whole, 56, 0xFFFE)
    elif entries == "sections":
        struct.pack_into("<H", whole, 60, 0)  # the count is the first section's size
        struct.pack_into("<Q", whole, struct.unpack_from("<Q", whole, 40)[0] + 32, 1 << 40)
    else:
        struct.pack_into("<Q", whole, struct.unpack_from("<Q", whole, 40)[0] + 64 + 32, 1 << 40)
    path = tmp_path / "sparse"
    path.write_bytes(whole)
    os.truncate(path, 1 << 41)
    with path.open("rb") as sparse:
        assert elf.functions(sparse, [at(0x1000)]) == {}


def test_a_note_leads_nowhere_but_to_debug_files(tmp_path, monkeypatch):
    monkeypatch.setattr(elf, "DEBUG_FILES", tmp_path / "debug")
    (tmp_path / "x.debug").touch()

    class Section:
        def iter_notes(self):
            yield {"n_desc": f"zz{tmp_path}/x"}

    class Elf:
        def get_section_by_name(self, _name):
            return Section()

    assert elf._debug_file(Elf()) is None
