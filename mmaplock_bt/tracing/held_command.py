"""The traced command: forked before the probes are live, executed when they are."""

import os
import signal
import time
from contextlib import suppress

GATE = 9  # the descriptor that the shell reads: dash knows none above
GRACE_S = 5.0


class HeldCommand:
    """A command that is forked now and executed on release().

    `pidfd` can be read from once it has ended. Imports little, as launch does.
    """

    def __init__(self, argv: list[str]) -> None:
        reader, self._release = os.pipe()
        # A shell that waits is small: its exec is the only trace it leaves.
        held = f'IFS= read -r go <&{GATE} && [ "$go" = go ] && exec {GATE}<&- && exec "$@"'
        self.argv = argv
        self._status: int | None = None
        # What was handed to this process is meant for the command; our stdout is for the report.
        self.pid = os.posix_spawn(
            "/bin/sh",
            ["/bin/sh", "-c", held, "sh", *argv],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, reader, GATE), (os.POSIX_SPAWN_DUP2, 2, 1)],
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # Python ignores them
        )
        os.close(reader)
        self.pidfd = os.pidfd_open(self.pid)

    def release(self) -> None:
        """Lets the command be executed."""
        with suppress(BrokenPipeError):  # it is gone already: its status tells
            os.write(self._release, b"go\n")
        self._close_gate()

    @property
    def status(self) -> int | None:
        """The exit status, a signal as its negative number; None while it runs."""
        if self._status is None:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            if found:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status

    def end(self) -> int:
        """Ends a command that still runs (SIGTERM, then SIGKILL); returns its status."""
        self._close_gate()
        deadline = time.monotonic() + GRACE_S
        self._signal(signal.SIGTERM)
        while self.status is None and time.monotonic() < deadline:
            time.sleep(0.01)
        self._signal(signal.SIGKILL)
        while self.status is None:
            time.sleep(0.01)
        os.close(self.pidfd)
        return self.status

    def _signal(self, number: int) -> None:
        if self.status is None:
            os.kill(self.pid, number)

    def _close_gate(self) -> None:
        if self._release >= 0:
            os.close(self._release)
            self._release = -1
