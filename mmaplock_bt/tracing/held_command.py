"""The traced command: forked before the probes are live, executed when they are."""

import os
import subprocess

GATE = 9  # the descriptor that the shell reads: dash knows none above


class HeldCommand:
    """A command that is forked now and executed on release()."""

    def __init__(self, argv: list[str]) -> None:
        reader, self._release = os.pipe()
        # A shell that waits is small: its exec is the only trace it leaves.
        held = f'IFS= read -r go <&{GATE} && [ "$go" = go ] && exec {GATE}<&- && exec "$@"'
        self.argv = argv
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", held, "sh", *argv],
            close_fds=False,  # what was handed to this process is meant for the command
            preexec_fn=lambda: _as_gate(reader),  # noqa: PLW1509  (one thread)
            stdout=2,  # our stdout is for the report
        )
        os.close(reader)
        self.pid = self._process.pid

    def release(self) -> None:
        """Lets the command be executed."""
        os.write(self._release, b"go\n")
        os.close(self._release)
        self._release = -1

    @property
    def status(self) -> int | None:
        """The exit status, a signal as its negative number; None while it runs."""
        return self._process.poll()

    def end(self) -> int:
        """Ends a command that still runs (SIGTERM, then SIGKILL); returns its status."""
        if self._release >= 0:
            os.close(self._release)
            self._release = -1
        if self._process.poll() is None:
            self._process.terminate()
        try:
            return self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def _as_gate(reader: int) -> None:
    """In the child: moves the pipe's end to the number that the shell reads.

    dup2 to the same number does nothing, so that it would still be closed on exec.
    """
    os.dup2(reader, GATE)
    os.set_inheritable(GATE, True)
