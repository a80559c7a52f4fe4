"""A bpftrace that sudo has started as root, for a user who may neither signal it nor hand it files.

A small shell of root's holds it until it is told its last arguments, and passes signals on. Its
orders come by a pipe: however this process dies, the pipe's end kills bpftrace.
"""

import os
import select
import signal
import time
from collections.abc import Mapping
from contextlib import suppress

from mmaplock_bt.machine import raising
from mmaplock_bt.tracing.process import PIECE_BYTES, Process

STARTING_S = 20.0
_DONE = "done"
# $$ is bpftrace's pid to be. It reads no orders: standard input is the shell's.
_HELD = f"""exec 3<&0 </dev/null
echo "$$"
IFS= read -r last <&3 || exit 125
(while IFS= read -r order <&3; do
  [ "$order" = {_DONE} ] && exit 0
  kill -s "$order" "$$"
done
kill -s KILL "$$") 2>/dev/null >/dev/null &
exec 3<&- "$@" $last
"""


class Raised(Process):
    """As Process; `pid` is bpftrace's own, `pidfd` is sudo's. Raises OSError."""

    def __init__(self, words: list[str], settings: Mapping[str, str]) -> None:
        self.status: int | None = None
        self.stops = 0
        orders, self._told = os.pipe()
        self.terminal, said = os.pipe()
        given = [f"{name}={value}" for name, value in settings.items()]
        sudo = [*raising.words(), *given, "--", "/bin/sh", "-c", _HELD, "sh", *words]
        try:
            # Of a group of its own: the terminal's Ctrl-C is this process's alone.
            self._sudo = os.posix_spawn(
                sudo[0], sudo, os.environ, setpgroup=0,
                file_actions=[(os.POSIX_SPAWN_DUP2, orders, 0), (os.POSIX_SPAWN_DUP2, said, 1),
                              (os.POSIX_SPAWN_DUP2, said, 2)],
                setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP],
            )  # fmt: skip
        finally:
            os.close(orders)
            os.close(said)
        os.set_blocking(self.terminal, False)
        self.pidfd = os.pidfd_open(self._sudo)
        self.pid = self._first()

    def tell(self, words: list[str]) -> None:
        """Gives bpftrace its last arguments, and so lets it be executed."""
        self._order(" ".join(words))

    @property
    def alive(self) -> bool:
        """Whether sudo runs, which ends as bpftrace does."""
        if self.status is None:
            found, status = os.waitpid(self._sudo, os.WNOHANG)
            if found:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is None

    def signal(self, number: int) -> None:
        """Has a signal sent, unless it has ended."""
        if self.alive:
            self._order(signal.Signals(number).name.removeprefix("SIG"))

    def said(self) -> bytes:
        """Returns what bpftrace said beside its JSON; b'' when nothing is there, or no more."""
        if self.terminal < 0:
            return b""
        with suppress(BlockingIOError):
            piece = os.read(self.terminal, PIECE_BYTES)
            if not piece:
                self._hang_up()
            return piece
        return b""

    def end(self) -> None:
        """As Process. The pid may be another's by and by: the shell is told to send no more."""
        if not self.alive:
            self._order(_DONE)
        super().end()

    def _order(self, text: str) -> None:
        with suppress(OSError):  # it is gone already: its status tells
            os.write(self._told, f"{text}\n".encode())

    def _first(self) -> int:
        """The pid, which the shell says first. Raises OSError with what sudo says instead.

        And perhaps before: that it cannot resolve this host's name.
        """
        deadline, text = time.monotonic() + STARTING_S, b""
        while (pid := _number(text)) is None:
            if time.monotonic() >= deadline or self.terminal < 0:
                self.pid = self._sudo
                self.end()
                said = text.decode(errors="replace").strip() or "silent"
                raise PermissionError(1, f"sudo: {said}")
            select.select([self.terminal], [], [], 0.1)
            text += self.said()
        return pid


def _number(text: bytes) -> int | None:
    """That in a line of its own."""
    return next((int(line) for line in text.split(b"\n")[:-1] if line.isdigit()), None)
