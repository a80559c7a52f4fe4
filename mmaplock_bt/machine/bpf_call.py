"""The bpf(2) system call, and others that libc does not wrap."""

import ctypes
import errno
import os
import sys

# include/uapi/linux/bpf.h
LOOKUP, UPDATE, DELETE, INFO, LOOKUP_BATCH, ENABLE_STATS = 1, 2, 3, 15, 24, 32
LOOKUP_AND_DELETE = 21
NO_EXIST = 1  # BPF_NOEXIST, of UPDATE
ATTRIBUTES = 128  # bytes of union bpf_attr that we use
# Of the architectures that do not have asm-generic's numbers, as this Python was built for one:
# uname -m is another below `setarch linux32`.
_BPF = {"x86_64": 321, "i386": 357, "powerpc64le": 361, "s390x": 351}
_PERF = {"x86_64": 298, "i386": 336, "powerpc64le": 319, "s390x": 331}
_ARCHITECTURE = getattr(sys.implementation, "_multiarch", "").partition("-")[0]
_BPF_NUMBER, _PERF_NUMBER = _BPF.get(_ARCHITECTURE, 280), _PERF.get(_ARCHITECTURE, 241)
_PIDFD_GETFD = 438  # the same on every architecture
_UNKNOWN = (1 << 31) - 1  # neither a command of bpf(2)'s nor flags of perf_event_open(2)'s
_libc = ctypes.CDLL(None, use_errno=True)


def bpf(command: int, attributes: bytes) -> tuple[int, bytes, int]:
    """Returns what the call returned, the attributes as the kernel left them, and errno or 0."""
    # Zeros behind what a kernel knows are allowed (bpf_check_uarg_tail_zero).
    buffer = ctypes.create_string_buffer(attributes, ATTRIBUTES)
    done = int(_libc.syscall(_BPF_NUMBER, command, buffer, ATTRIBUTES))
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


def refused() -> list[str]:
    """Returns which of the calls that tracing takes are refused before the kernel looks at them.

    It would find that nothing like that can be asked for (EINVAL). A seccomp filter does not look.
    """
    told = {
        "bpf": bpf(_UNKNOWN, b"")[2],
        "perf_event_open": _perf_event_open(_UNKNOWN),
    }
    return [name for name, failed in told.items() if failed in (errno.EPERM, errno.ENOSYS)]


def _perf_event_open(flags: int) -> int:
    """Returns errno: without attributes it always fails."""
    _libc.syscall(_PERF_NUMBER, None, -1, -1, -1, ctypes.c_ulong(flags))
    return ctypes.get_errno()
