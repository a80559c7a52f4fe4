"""A process on a terminal of its own that ends when this one does: how bpftrace is run.

Imports little: bpftrace is started before the rest of the program is there (see head_start).
"""

import ctypes
import os
import select
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from mmaplock_bt.signals import ENDING

PR_SET_PDEATHSIG = 1
EXEC_FAILED = 127  # as of a shell
PIECE_BYTES = 1 << 16
PATIENCE_S = 10.0
TIDY_S = 5.0


class Process:
    """A child; its last arguments are those that tell() gives it. It inherits descriptors `kept`.

    However this process dies, the closing terminal hangs the child up and the parent-death signal
    kills it. Raises OSError where there is no terminal to be had.
    """

    def __init__(
        self, words: list[str], environment: Mapping[str, str], kept: Iterable[int] = ()
    ) -> None:
        def execute(last: list[str]) -> int:
            for descriptor in kept:
                os.set_inheritable(descriptor, True)
            os.execve(words[0], [*words, *last], environment)

        self._fork(words[0], execute, kept)

    def _fork(self, name: str, become: Callable[[list[str]], int], kept: Iterable[int]) -> None:
        self.status: int | None = None  # a signal as its negative number; None while it runs
        self.stops = 0  # how often somebody has stopped it
        reader, self._told = os.pipe()
        try:
            self.pid, self.terminal = os.forkpty()
        except OSError:
            os.close(reader)
            os.close(self._told)
            raise
        if self.pid == 0:
            os.close(self._told)  # else it would not notice that the parent is gone
            _become(name, become, reader, kept)
        os.close(reader)
        os.set_blocking(self.terminal, False)
        self.pidfd = os.pidfd_open(self.pid)

    def tell(self, words: list[str]) -> None:
        """Gives the child its last arguments, and so lets it be executed."""
        with suppress(BrokenPipeError):  # it is gone already: its status tells
            os.write(self._told, " ".join(words).encode())
        os.close(self._told)
        self._told = -1

    @property
    def alive(self) -> bool:
        """Whether it runs; to be asked again and again: one that was stopped goes on then."""
        if self.status is None:
            found, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)
            if found and os.WIFSTOPPED(status):
                self.stops += 1
                os.kill(self.pid, signal.SIGCONT)
            elif found:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is None

    def signal(self, number: int) -> None:
        """Sends a signal, unless it has ended."""
        if self.alive:
            os.kill(self.pid, number)

    def said(self) -> bytes:
        """Returns what is to be read from its terminal now; b'' when nothing is, or no more."""
        if self.terminal < 0:
            return b""
        try:
            return os.read(self.terminal, PIECE_BYTES)
        except BlockingIOError:
            return b""
        except OSError:  # EIO: nobody has the other end open any more
            self._hang_up()
            return b""

    def asleep(self) -> int | None:
        """Returns how often it was switched while it sleeps; None when it runs or is not seen.

        The same number twice: it did nothing in between.
        """
        try:
            with open(f"/proc/{self.pid}/status", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
                told = dict(line.split(":", 1) for line in file if ":" in line)
        except OSError:
            return None
        if not told.get("State", "").lstrip().startswith("S"):
            return None
        return int(told["voluntary_ctxt_switches"]) + int(told["nonvoluntary_ctxt_switches"])

    def end(self) -> None:
        """Kills it if it runs, and waits for it; not for one that is stuck in the kernel."""
        self.signal(signal.SIGKILL)
        if self.alive and not select.select([self.pidfd], [], [], PATIENCE_S)[0]:
            stuck = "does not end by SIGKILL: it is stuck in the kernel and ends once that lets go"
            print(f"note: bpftrace (pid {self.pid}) {stuck} of it", file=sys.stderr)
        _ = self.alive  # takes its status
        self._hang_up()
        for descriptor in (self.pidfd, self._told):
            if descriptor >= 0:
                os.close(descriptor)
        self.pidfd = self._told = -1

    def _hang_up(self) -> None:
        if self.terminal >= 0:
            os.close(self.terminal)
            self.terminal = -1


def end_with_parent(parent: int, number: int) -> None:
    """Has this process sent a signal when its parent, whose pid is given, ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:  # it has ended before
        os.kill(os.getpid(), number)


class Forked(Process):
    """A child that is this program still: it does `work` with the words that tell() gives it.

    It inherits descriptors `kept`. When this process dies it gets SIGTERM, and may tidy up.
    """

    def __init__(self, name: str, work: Callable[[list[str]], int], kept: Iterable[int]) -> None:
        parent = os.getpid()

        def become(last: list[str]) -> int:
            end_with_parent(parent, signal.SIGTERM)
            return work(last)

        with warnings.catch_warnings():
            # From 3.12 on, where other threads run: the child takes no lock that they may hold.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._fork(name, become, kept)

    def end(self) -> None:
        """Ends it as its parent's death would: were it killed, and then this process, nobody would
        tidy up.
        """
        self.signal(signal.SIGTERM)
        if self.alive:
            select.select([self.pidfd], [], [], TIDY_S)
        super().end()


def _become(
    name: str, become: Callable[[list[str]], int], reader: int, kept: Iterable[int]
) -> None:
    """In the child: becomes what it shall once it is told its last words. Does not return."""
    try:
        die_with_parent()
        # A shell's background job ignores SIGINT, one below nohup SIGHUP; bpftrace would inherit
        # that and miss its end, or the end of its terminal.
        for number in ENDING:
            signal.signal(number, signal.SIG_DFL)
        # Before it waits: what the parent closes meanwhile must be closed.
        close_all_but(reader, *kept)
        last = os.read(reader, PIECE_BYTES).decode().split()
        if last:  # else the parent is gone
            os.set_inheritable(reader, False)
            os._exit(become(last))
    except OSError as error:
        os.write(2, f"{name}: {error.strerror}\n".encode())
    except BaseException as error:
        os.write(2, f"{name}: {type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(EXEC_FAILED)


def die_with_parent() -> None:
    """Asks the kernel to kill this process when its parent dies."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def close_all_but(*kept: int, first: int = 3) -> None:
    """Closes every descriptor from the first on that is not kept."""
    for descriptor in sorted(kept):
        os.closerange(first, descriptor)
        first = descriptor + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))
