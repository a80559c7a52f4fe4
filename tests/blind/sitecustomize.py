"""In front of everything: a kernel that refuses pidfd_getfd(2)."""

from mmaplock_bt.machine import bpf_call


def refused(_process: int, _descriptor: int) -> int:
    raise PermissionError(1, "Operation not permitted")


bpf_call.duplicate = refused
