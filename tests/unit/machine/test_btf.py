"""The offset of a member, from a BTF of a few types written here."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmaplock_bt.machine import btf

INT, STRUCT, UNION, ENUM = 1, 4, 5, 6


def blob(*types: bytes, strings: bytes = b"\0mm_struct\0mmap_lock\0owner\0", magic: int = 0xEB9F):
    body = b"".join(types)
    head = struct.pack("<HBBIIIII", magic, 1, 0, 24, 0, len(body), len(body), len(strings))
    return head + body + strings


def kind(number: int, name: int, members: list[tuple[int, int, int]] = (), more: bytes = b""):
    info = number << 24 | len(members)
    return (
        struct.pack("<III", name, info, 8)
        + more
        + b"".join(struct.pack("<III", *member) for member in members)
    )


MM, LOCK, OWNER = 1, 11, 21
NUMBER = kind(INT, 0, more=b"\0\0\0\0")
# struct mm_struct { struct { int owner; union { int mmap_lock; }; }; int owner; }
NESTED = blob(
    NUMBER,
    kind(UNION, 0, [(LOCK, 1, 0)]),
    kind(STRUCT, 0, [(OWNER, 1, 0), (0, 2, 64)]),
    kind(STRUCT, MM),  # declared only
    kind(STRUCT, MM, [(0, 3, 128), (OWNER, 1, 512)]),
)


def test_members_of_structures_without_a_name_are_the_outer_ones():
    assert btf.offset(NESTED, "mm_struct", "mmap_lock") == (128 + 64) // 8
    assert btf.offset(NESTED, "mm_struct", "owner") == 128 // 8, "the first of two"


def test_a_declaration_has_no_size():
    assert btf.size(NESTED, "mm_struct") == 8
    assert btf.size(NESTED, "owner") is None


def test_a_bit_fields_size_is_no_part_of_its_place():
    """kind_flag: the upper byte of a member's offset is the field's size."""
    flagged = struct.pack("<III", MM, 1 << 31 | STRUCT << 24 | 1, 8)
    found = blob(NUMBER, flagged + struct.pack("<III", LOCK, 1, 3 << 24 | 72))
    assert btf.offset(found, "mm_struct", "mmap_lock") == 9


@pytest.mark.parametrize(
    ("found", "member"),
    [
        (NESTED, "nothing"),
        (blob(NUMBER), "mmap_lock"),
        (blob(NUMBER, magic=0x9FEB), "mmap_lock"),
        (NESTED[:60], "mmap_lock"),
        (b"", "mmap_lock"),
    ],
)
def test_what_is_not_there_is_unknown(found, member):
    assert btf.offset(found, "mm_struct", member) is None


def test_a_structure_within_itself_ends():
    endless = blob(NUMBER, kind(STRUCT, MM, [(0, 2, 0)]))
    assert btf.offset(endless, "mm_struct", "mmap_lock") is None


@given(st.binary(max_size=200), st.integers(0, 200))
def test_no_bytes_make_it_fail(noise, at):
    btf.offset(NESTED[:at] + noise + NESTED[at + len(noise) :], "mm_struct", "mmap_lock")
