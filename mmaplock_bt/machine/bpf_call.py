"""The bpf(2) system call, and pidfd_getfd(2), which libc does not wrap."""

import ctypes
import os

# include/uapi/linux/bpf.h
UPDATE, DELETE, INFO, LOOKUP_BATCH, ENABLE_STATS = 2, 3, 15, 24, 32
ATTRIBUTES = 128  # bytes of union bpf_attr that we use
NUMBERS = {"x86_64": 321, "i686": 357, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
_PIDFD_GETFD = 438  # the same on every architecture
_libc = ctypes.CDLL(None, use_errno=True)


def bpf(command: int, attributes: bytes) -> tuple[int, bytes, int]:
    """Returns what the call returned, the attributes as the kernel left them, and errno or 0."""
    number = NUMBERS.get(os.uname().machine, 280)  # 280 is asm-generic's
    # Zeros behind what a kernel knows are allowed (bpf_check_uarg_tail_zero).
    buffer = ctypes.create_string_buffer(attributes, ATTRIBUTES)
    done = int(_libc.syscall(number, command, buffer, ATTRIBUTES))
    return done, buffer.raw, ctypes.get_errno() if done < 0 else 0


def call(command: int, attributes: bytes) -> int:
    """Calls bpf(2), returns what it returns (0, or a descriptor). Raises OSError."""
    done, _, failed = bpf(command, attributes)
    if failed:
        raise OSError(failed, f"bpf({command}): {os.strerror(failed)}")
    return done


def duplicate(process: int, descriptor: int) -> int:
    """Returns a duplicate of another process's descriptor; `process` is a pidfd. Raises OSError."""
    made = int(_libc.syscall(_PIDFD_GETFD, process, descriptor, 0))
    if made < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return made
