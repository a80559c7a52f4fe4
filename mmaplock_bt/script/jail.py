"""A child process in which text from outside may do its worst: it has no files, little time and
little memory, and as root it is nobody.

It is a fork: an interpreter of its own would take longer than all the rest.
"""

import ctypes
import gc
import os
import resource
import select
import signal
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from mmaplock_bt.errors import UsageError
from mmaplock_bt.escaping import shown
from mmaplock_bt.machine import confinement
from mmaplock_bt.machine.confinement import at_most

CPU_S = 3.0  # the largest shipped template takes 0.1
WALL_S = 60.0  # where others have the CPUs
MEMORY_BYTES = 64 << 20  # beside what the process has already
OUTPUT_BYTES = 1 << 20  # the largest shipped script has 40 KiB
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38  # include/uapi/linux/prctl.h
_PIPE = 3  # the only descriptor there
_DONE, _FAULTS, _MEMORY, _DEPTH = b"done", b"flts", b"mmry", b"dpth"
_END = b"\0end"


def confined(work: Callable[[], str], what: str) -> str:
    """Returns what `work` returns, made in the jail; `what` names it in sentences.

    Raises UsageError: what it raises, or that it takes too long or too much.
    """
    reading, writing = os.pipe()
    libc = ctypes.CDLL(None)  # loaded here: the child opens nothing
    with warnings.catch_warnings():
        # From 3.12 on, where other threads run: the child takes no lock that they may hold.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        _work(work, writing, libc)
    os.close(writing)
    try:
        said = _read(reading)
    finally:
        os.close(reading)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        status = _status(pid)
    return _understood(said, status, what)


def _read(reading: int) -> bytes | None:
    """All that it says until it ends; None where it goes on for too long."""
    deadline = time.monotonic() + WALL_S
    ready = select.poll()
    ready.register(reading, select.POLLIN)
    said = b""
    while len(said) <= OUTPUT_BYTES + 64:
        left = deadline - time.monotonic()
        if left <= 0 or not ready.poll(left * 1000):
            return None
        piece = os.read(reading, 1 << 16)
        if not piece:
            return said
        said += piece
    return said


def _status(pid: int) -> int | None:
    with suppress(ChildProcessError):  # whoever ignores SIGCHLD has no status
        return os.waitpid(pid, 0)[1]
    return None


def _understood(said: bytes | None, status: int | None, what: str) -> str:
    """Reads it as what may come out of a jail: text, or the reason why there is none."""
    kind = b"" if said is None else said[:4]
    if said is not None and len(said) > OUTPUT_BYTES:
        raise UsageError(f"{what} becomes too long: at most {OUTPUT_BYTES >> 20} MiB")
    text = said[4 : -len(_END)].decode(errors="replace") if said and said.endswith(_END) else ""
    if kind == _DONE:
        return text
    if kind == _FAULTS:
        raise UsageError(*text.split("\n"))
    if kind == _DEPTH:
        raise UsageError(f"{what} does not render: it is nested too deeply, or calls itself")
    if kind == _MEMORY:
        raise UsageError(f"{what} takes too much memory: more than {MEMORY_BYTES >> 20} MiB")
    ended = os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else None
    if said is None or ended in (signal.SIGPROF, signal.SIGXCPU):
        raise UsageError(f"{what} takes too long: more than {CPU_S:g} s")
    raise UsageError(f"{what} does not render: it takes more than a template may")


def _work(work: Callable[[], str], writing: int, libc: ctypes.CDLL) -> NoReturn:
    """The child: says one thing and ends, whatever happens."""
    try:
        _lock(writing, libc)
        said = _DONE + work().encode() + _END
    except RecursionError:
        said = _DEPTH + _END
    except MemoryError:
        said = _MEMORY + _END
    except BaseException as error:
        said = _told(error)
    with suppress(BaseException):
        while said:
            said = said[os.write(_PIPE, said) :]
    os._exit(0)


def _told(error: BaseException) -> bytes:
    if isinstance(error, UsageError):
        return _FAULTS + str(error).encode(errors="replace") + _END
    what = f"{type(error).__name__}: {shown(error)}"
    return _FAULTS + what.encode(errors="replace") + _END


def _lock(writing: int, libc: ctypes.CDLL) -> None:
    """Gives up all that rendering does not need; nothing of it comes back."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    gc.disable()
    warnings.simplefilter("ignore")
    size = confinement.size_bytes()
    os.dup2(writing, _PIPE)
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  (a list: it shrinks meanwhile)
        if int(name) != _PIPE:
            with suppress(OSError):  # that of the listing itself
                os.close(int(name))
    at_most(resource.RLIMIT_AS, size + MEMORY_BYTES)
    for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
        at_most(kind, 0)
    at_most(resource.RLIMIT_CPU, int(CPU_S) + 1)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, CPU_S)
    confinement.become_nobody()
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    at_most(resource.RLIMIT_NPROC, 0)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # not kept by who becomes another
