"""The process between this one and the traced command: it ends what has to be ended.

It is the command's parent and a subreaper (prctl(2)): what the command starts stays below it, be it
a daemon in a session of its own, and is found there. It lives as long as the command, and:

- a command that exits leaves running what it wants to;
- one that is killed, that the run ends, or whose run dies (its lifeline closes, however that
  happens) takes along everything below it: SIGTERM, and SIGKILL for what is left after GRACE_S.

Imports little, as launch does.
"""

import ctypes
import os
import select
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from struct import Struct

from mmaplock_bt.signals import ENDING, IGNORED
from mmaplock_bt.tracing.process import close_all_but, die_with_parent

PR_SET_CHILD_SUBREAPER = 36
NAME = "command-keeper"  # not the tool's: who kills that by its name shall not hit this, too
GRACE_S = 5.0
KILL_S = 2.0  # whoever does not end then is stuck in the kernel
STUCK, FAULT = 1, 2  # the keeper's exit codes
TOLD = Struct("i")
_AGAIN_S = 0.05
_PYTHONS_OWN = (signal.SIGPIPE, signal.SIGXFSZ)  # Python ignores them


def start(become: Callable[[], object], lifeline: int, told: int, own: Iterable[int]) -> int:
    """Forks the keeper, which forks the command; returns the keeper's pid.

    `become` executes the command, and does not return. `told` gets the command's pid and, once it
    has ended, its exit status (a signal as its negative number), as TOLD each. The lifeline is the
    reading end of a pipe: its end ends the command. `own` are the ends of pipes that stay this
    process's: a command that is stopped before it is executed would keep the lifeline whole.
    Raises OSError where there is no process to be had; where that is the command's, `told` ends
    with nothing said.
    """
    everything = signal.valid_signals()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, everything)
    try:
        pid = os.fork()
        if pid == 0:
            for descriptor in own:
                os.close(descriptor)
            _keep(become, lifeline, told, before)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def _keep(become: Callable[[], object], lifeline: int, told: int, mask: Iterable[int]) -> None:
    """In the keeper. Does not return."""
    code = FAULT
    try:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        command = os.fork()
        if command == 0:
            _command(become, mask)
        os.setpgid(0, 0)  # a terminal's Ctrl-C is the command's and the tool's
        close_all_but(lifeline, told, first=0)
        with open("/proc/self/comm", "w", encoding="ascii") as file:  # noqa: PTH123
            file.write(NAME)
        os.write(told, TOLD.pack(command))
        code = 0 if _Watch(command, lifeline, told).until_end() else STUCK
    finally:
        os._exit(code)


def _command(become: Callable[[], object], mask: Iterable[int]) -> None:
    """In the command-to-be, which ends with the keeper. Does not return.

    Whoever changes its user in `become` loses the parent-death signal (prctl(2)).
    """
    try:
        die_with_parent()
        for number in (*ENDING, *_PYTHONS_OWN):
            signal.signal(number, signal.SIG_IGN if number in IGNORED else signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        become()
    finally:
        os._exit(127)


class _Watch:
    """The keeper's view of what is below it."""

    def __init__(self, command: int, lifeline: int, told: int) -> None:
        self._command = command
        self._lifeline = lifeline
        self._told = told
        self._is_told = False
        self._reaped, wake = os.pipe()
        for end in (self._reaped, wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in (*ENDING, signal.SIGQUIT, signal.SIGTSTP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def until_end(self) -> bool:
        """Returns once the command has ended, whether nothing is left that had to end."""
        while not self._is_told:
            if self._lifeline in select.select([self._lifeline, self._reaped], [], [])[0]:
                return self._end()
            status = self._reap()
            if status is not None and status < 0:
                return self._end()
        return True

    def _reap(self) -> int | None:
        """Takes note of who has ended; returns the command's status when it is among them."""
        with suppress(BlockingIOError):
            os.read(self._reaped, 1 << 12)
        found = None
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self._command:
                    found = os.waitstatus_to_exitcode(ended[1])
                    self._tell(found)
        return found

    def _tell(self, status: int) -> None:
        self._is_told = True
        with suppress(OSError):  # nobody is there to hear it
            os.write(self._told, TOLD.pack(status))

    def _end(self) -> bool:
        """Ends all that is below, returns whether it did: it gives up on who is stuck."""
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)  # what is stopped would not hear it
        return self._wait(GRACE_S, lambda: None) or self._wait(
            KILL_S, lambda: self._signal(signal.SIGKILL)
        )

    def _wait(self, limit_s: float, also: Callable[[], object]) -> bool:
        """Until nothing is below, which it returns, or time is up; does `also` again and again."""
        deadline = time.monotonic() + limit_s
        while (left := self._is_somebody_there()) and time.monotonic() < deadline:
            also()
            select.select([self._reaped], [], [], _AGAIN_S)
            self._reap()
        return not left

    def _is_somebody_there(self) -> bool:
        with suppress(ChildProcessError):
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            return True
        return False

    def _signal(self, number: int) -> None:
        for pid in _below(os.getpid()):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)


def _below(root: int) -> list[int]:
    """The pids below a process, by /proc/PID/task/TID/children: that takes no lock of theirs."""
    found, waiting = [], [root]
    while waiting:
        new = list(_children(waiting.pop()))
        found += new
        waiting += new
    return found


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:  # noqa: PTH123
                found += map(int, file.read().split())
    return found
