"""A BTF of ours is held while bpftrace starts, where the kernel lets us."""

import os
import struct

from mmaplock_bt.machine import held_btf


def test_it_is_a_whole_btf_of_one_type():
    """include/uapi/linux/btf.h: header, types, strings, and nothing else."""
    text = held_btf.minimal()
    magic, version, flags, header, types, type_bytes, strings, string_bytes = struct.unpack_from(
        "=HBBIIIII", text
    )
    assert (magic, version, flags, header, types) == (0xEB9F, 1, 0, 24, 0)
    assert strings == type_bytes == 16 and len(text) == header + strings + string_bytes
    (name,) = struct.unpack_from("=I", text, header)
    assert text[header + strings :][name:].startswith(b"int\0")


def test_a_kernel_that_refuses_it_is_no_fault(monkeypatch):
    monkeypatch.setattr(held_btf, "bpf", lambda command, attributes: (-1, b"", 1))
    with held_btf.held():
        assert held_btf.load() is None


def test_it_is_let_go_of_after_the_block(monkeypatch):
    """A pipe's end stands for the descriptor that the kernel gives."""
    reader, writer = os.pipe()
    monkeypatch.setattr(held_btf, "bpf", lambda command, attributes: (writer, b"", 0))
    with held_btf.held():
        os.fstat(writer)
    assert os.read(reader, 1) == b""
    os.close(reader)
