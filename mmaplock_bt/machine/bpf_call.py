"""The bpf(2) system call, which libc does not wrap."""

import ctypes
import os

ATTRIBUTES = 128  # bytes of union bpf_attr that we use
NUMBERS = {"x86_64": 321, "i686": 357, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
_libc = ctypes.CDLL(None, use_errno=True)


def bpf(command: int, attributes: bytes) -> tuple[int, bytes, int]:
    """Returns what the call returned, the attributes as the kernel left them, and errno or 0."""
    number = NUMBERS.get(os.uname().machine, 280)  # 280 is asm-generic's
    # Zeros behind what a kernel knows are allowed (bpf_check_uarg_tail_zero).
    buffer = ctypes.create_string_buffer(attributes, ATTRIBUTES)
    done = int(_libc.syscall(number, command, buffer, ATTRIBUTES))
    return done, buffer.raw, ctypes.get_errno() if done < 0 else 0
