"""The kernel's own description of its types (BTF): where a member lies in a structure.

bpftrace has offsetof() from 0.18 on only; BTF is the same for every release.
"""

import struct
from collections.abc import Iterator

# Documentation/bpf/btf.rst: bytes that follow a type's three words, fixed and for each member.
_FIXED = {1: 4, 3: 12, 14: 4, 17: 4}  # int, array, var, decl_tag
_EACH = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}  # struct, union, enum, proto, datasec, enum64
_STRUCT, _UNION = 4, 5
_MAGIC = 0xEB9F
_HEADER = struct.Struct("<HBBIIIII")
_TYPE = struct.Struct("<III")
_BIT_OFFSET = 0xFFFFFF  # above it a bit field's size, where the type's top bit is set
_DEPTH = 8  # of structures without a name inside each other


def offset(blob: bytes, structure: str, member: str) -> int | None:
    """Returns a member's offset in bytes, also within anonymous members.

    None where `blob` is no BTF (/sys/kernel/btf/vmlinux) or does not have it.
    """
    try:
        bits = _Types(blob).find(structure.encode(), member.encode())
    except (struct.error, IndexError, ValueError):
        return None
    return None if bits is None else bits // 8


def size(blob: bytes, name: str) -> int | None:
    """Returns the size in bytes of a structure or union; None as above."""
    try:
        return _Types(blob).size(name.encode())
    except (struct.error, IndexError, ValueError):
        return None


class _Types:
    def __init__(self, blob: bytes) -> None:
        magic, _, _, head, types, length, strings, _ = _HEADER.unpack_from(blob)
        if magic != _MAGIC:
            raise ValueError("no BTF, or of the other byte order")
        self._blob = blob
        self._strings = head + strings
        self._at = [0, *_places(blob, head + types, head + types + length)]  # by type id, from 1

    def find(self, structure: bytes, member: bytes) -> int | None:
        """The member's offset in bits."""
        at = self._place(structure)
        return None if at is None else self._member(at, member, _DEPTH)

    def size(self, structure: bytes) -> int | None:
        at = self._place(structure)
        return None if at is None else int(_TYPE.unpack_from(self._blob, at)[2])

    def _place(self, structure: bytes) -> int | None:
        for at in self._at[1:]:
            name, info, _ = _TYPE.unpack_from(self._blob, at)
            has_members = info >> 24 & 31 in (_STRUCT, _UNION) and info & 0xFFFF
            if has_members and self._name(name) == structure:
                return at
        return None

    def _member(self, at: int, wanted: bytes, depth: int) -> int | None:
        _, info, _ = _TYPE.unpack_from(self._blob, at)
        if info >> 24 & 31 not in (_STRUCT, _UNION) or not depth:
            return None
        for turn in range(info & 0xFFFF):
            name, kind, place = _TYPE.unpack_from(self._blob, at + 12 * (turn + 1))
            bits = place & _BIT_OFFSET if info >> 31 else place
            if name and self._name(name) == wanted:
                return int(bits)
            if not self._name(name):
                within = self._member(self._at[kind], wanted, depth - 1)
                if within is not None:
                    return int(bits) + within
        return None

    def _name(self, place: int) -> bytes:
        start = self._strings + place
        return self._blob[start : self._blob.index(b"\0", start)]


def _places(blob: bytes, at: int, end: int) -> Iterator[int]:
    """Where each type begins."""
    while at < end:
        yield at
        (info,) = struct.unpack_from("<I", blob, at + 4)
        kind = info >> 24 & 31
        at += 12 + _FIXED.get(kind, 0) + _EACH.get(kind, 0) * (info & 0xFFFF)
