"""The traced command: forked before the probes are live, executed when they are."""

import errno
import os
import select
import signal
import sys
from contextlib import suppress

from mmaplock_bt import person
from mmaplock_bt.tracing import keeper
from mmaplock_bt.tracing.process import die_with_parent

GATE = 9  # the descriptor that the shell reads: dash knows none above
# A shell that waits is small: its exec is the only trace it leaves.
_HELD = f'IFS= read -r go <&{GATE} && [ "$go" = go ] && exec {GATE}<&- && exec "$@"'
_STUCK = (
    "the command (pid {}), or what it has started, does not end by SIGKILL either: it is stuck in "
    "the kernel and ends once that lets go of it"
)
_PATIENCE_S = keeper.GRACE_S + keeper.KILL_S + 2


class HeldCommand:
    """A command that is forked now and executed on release(); its keeper ends it with this process.

    Imports little, as launch does.
    """

    def __init__(self, argv: list[str]) -> None:
        self.argv = argv
        self._pid: int | None = None
        self._status: int | None = None
        reader, self._release = os.pipe()
        lifeline, self._lifeline = os.pipe()
        self._told, told = os.pipe()
        try:
            own = (self._release, self._lifeline, self._told)
            self._keeper = keeper.start(lambda: _become(argv, reader), lifeline, told, own)
        finally:
            for descriptor in (reader, lifeline, told):
                os.close(descriptor)

    @property
    def pid(self) -> int:
        """Its process id. Raises OSError where there was no process to be had."""
        if self._pid is None:  # not before it is asked for: meanwhile it is forked
            self._pid = self._heard()
        if self._pid is None:
            raise OSError(errno.EAGAIN, "no process to be had for the command")
        return self._pid

    @property
    def ended(self) -> int:
        """A descriptor that can be read from once it has ended."""
        assert self.pid  # heard before
        return self._told

    def release(self) -> None:
        """Lets the command be executed."""
        with suppress(BrokenPipeError):  # it is gone already: its status tells
            os.write(self._release, b"go\n")
        self._close_gate()

    @property
    def status(self) -> int | None:
        """The exit status, a signal as its negative number; None while it runs."""
        if self._status is None and self._is_told():
            said = self._heard()  # nothing: its keeper was killed
            self._status = -signal.SIGKILL if said is None else said
        return self._status

    def end(self) -> int | None:
        """Ends a command that still runs, and all below it; returns its status.

        None for one that cannot be ended, which is told.
        """
        if self._lifeline < 0:
            return self._status
        self._close_gate()
        os.close(self._lifeline)
        self._lifeline = -1
        if self._keepers_end() == keeper.STUCK:
            print(f"note: {_STUCK.format(self.pid)}", file=sys.stderr)
            self._status = self._heard() if self._status is None else self._status
        else:
            self._status = self.status
        os.close(self._told)
        self._told = -1
        return self._status

    def _keepers_end(self) -> int:
        """Waits for it, but not for ever; returns its exit code."""
        pidfd = os.pidfd_open(self._keeper)
        if not select.select([pidfd], [], [], _PATIENCE_S)[0]:
            os.kill(self._keeper, signal.SIGKILL)
        os.close(pidfd)
        return os.waitstatus_to_exitcode(os.waitpid(self._keeper, 0)[1])

    def _is_told(self) -> bool:
        """Whether its status, or that there is none, can be heard; the pid comes before it."""
        return self._told >= 0 and bool(select.select([self.ended], [], [], 0)[0])

    def _heard(self) -> int | None:
        """The next number from the keeper; None for its end."""
        said = os.read(self._told, keeper.TOLD.size)
        return int(keeper.TOLD.unpack(said)[0]) if said else None

    def _close_gate(self) -> None:
        if self._release >= 0:
            os.close(self._release)
            self._release = -1


def _become(argv: list[str], reader: int) -> None:
    """In the command-to-be: waits for its turn as a shell. Raises OSError, else does not return.

    Where root works for somebody, the command is that user's from here on.
    What was handed to this process is meant for the command; our stdout is for the report.
    """
    os.dup2(reader, GATE)
    os.set_inheritable(GATE, True)  # where it was that one already
    os.dup2(2, 1)
    environment = person.environment()
    if person.become():
        die_with_parent()  # that was lost
    os.execve("/bin/sh", ["/bin/sh", "-c", _HELD, "sh", *argv], environment)
