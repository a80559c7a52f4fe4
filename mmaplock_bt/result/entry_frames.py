"""Frames by which every thread enters the kernel: they end a stack and say nothing of it."""

import re
from collections.abc import Sequence

# x86 and arm64 by name, then riscv, powerpc and s390. A fault's own handler (exc_page_fault,
# el0_da) says what it was; the stub before it does not.
_ENTRY = re.compile(
    r"entry_(SYSCALL|SYSENTER|INT80)\w*|do_syscall_64|(__)?do_fast_syscall_32|do_SYSENTER_32"
    r"|(do_)?int80_\w+|do_int80\w*|(x64|x32|ia32)_sys_call|asm_(exc|sysvec|common|fred)_\w+"
    r"|fred_\w+|el0t_\w+|el0_svc\w*|el0_sync\w*|do_el0_svc\w*|invoke_syscall\w*"
    r"|handle_exception|do_trap_ecall_u|syscall_handler|system_call\w*|__do_syscall"
    r"|ret_from_fork\w*|kthread"
)
_CALL = re.compile(r"madvise\(\w+\)")  # what stream/stacks says of the call, outermost
_FUNCTION = re.compile(r"[\w.]+")


def is_entry(frame: str) -> bool:
    """Tells whether a frame, 'function+offset' or a function's name, is such a one."""
    found = _FUNCTION.match(frame)
    return bool(found and _ENTRY.fullmatch(found[0].partition(".")[0]))


def without(frames: Sequence[str]) -> Sequence[str]:
    """Returns a kernel stack, innermost frame first, without those at its end; all if only those.

    For people: formats for programs keep every frame.
    """
    last = len(frames) - bool(call(frames))
    end = last
    while end and is_entry(frames[end - 1]):
        end -= 1
    return [*frames[:end], *frames[last:]] if end else frames


def call(frames: Sequence[str]) -> str:
    """Returns the system call that a stack's last frame tells, 'madvise(MADV_FREE)', or ''."""
    return frames[-1] if frames and _CALL.fullmatch(frames[-1]) else ""
