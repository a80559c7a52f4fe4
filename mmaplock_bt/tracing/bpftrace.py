"""Runs bpftrace: starts it, opens and closes the window, yields its lines, leaves nothing behind.

bpftrace has a terminal of its own: diagnostics come from there, JSON comes from a pipe.
"""

import contextlib
import mmap
import os
import re
import select
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mmaplock_bt import person
from mmaplock_bt.errors import BpftraceError, Failure, RefusedError, TargetError
from mmaplock_bt.machine import cpu_time, pid_namespace, raising
from mmaplock_bt.machine.features import NOISE
from mmaplock_bt.machine.inventory import Machine
from mmaplock_bt.script.render import Script
from mmaplock_bt.stream.thinning import Thinning
from mmaplock_bt.tracing import perf_events, terminal
from mmaplock_bt.tracing.drain import Drain
from mmaplock_bt.tracing.head_start import HeadStart
from mmaplock_bt.tracing.launch import Launch, Order
from mmaplock_bt.tracing.process import Process
from mmaplock_bt.units import how_ended

LIVE_TIMEOUT_S = 90.0  # in which it does nothing, and
WORK_S = 400.0  # at most in which it is busy: a slow machine takes minutes to compile
STOP_GRACE_S = 20.0
REST_GRACE_S = 5.0  # for what is still buffered: bpftrace prints some thousand lines a second
ASK_S = 0.005
REST_S = 0.01
QUIET_S = 0.15
DIAGNOSTIC_LINES = 12
DIAGNOSTIC_BYTES = 256 << 10  # the last ones are kept
SUDO = "see --sudo in the README, or run this as root"
FLOOD_BYTES = 4 << 20  # before the window opens no script prints so much
BUFFER_BYTES = 16 << 20  # in all
_SGR = re.compile(r"\x1b\[[0-9;]*m")
_SCRIPT = re.compile(r"/proc/self/fd/\d+(?=:\d)")  # as bpftrace names where a fault is
_CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE}
_KILLED = (
    "not for the script's sake: somebody sent it a signal, or the kernel was short of memory "
    "(dmesg); run it again"
)
_MISSED = "what it could not take meanwhile is counted as lost"
_COMM = Path("/proc/self/comm")
_WINDOW = "mmaplock-bt/"  # names by which windows are opened and closed


class Tracer:
    """A bpftrace process; a context manager that ends it on every way out.

    `root_pid` is the process whose tree is traced, 0 for none. `head` may have it started already.
    """

    def __init__(
        self, script: Script, machine: Machine, root_pid: int = 0, head: HeadStart | None = None
    ) -> None:
        self.script = script
        self.machine = machine
        self.root_pid = root_pid
        self.thinning = Thinning(script.outputs)
        self._head = head
        self._partial = b""
        self._said = b""
        self._name = _own_name()
        self._launch: Launch | None = None
        self._drain: Drain | None = None

    def __enter__(self) -> "Tracer":
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    @property
    def order(self) -> Order:
        """What is started."""
        if self.script.plan is not None:
            # Seldom needed: bpftrace shall not wait for its imports.
            from mmaplock_bt.tracing import by_tracefs  # noqa: PLC0415

            return by_tracefs.order(self.script.plan, self.script.text)
        # Up to 0.22 a full map is silent without -k; from 0.23 it is reported anyway.
        flags = ["-k"] if self.machine.facts.get("helper_errors_flag") else []
        words, is_raised = [self.machine.path, *flags], bool(raising.words())
        return Order(words, self._settings(), self.script.text, is_raised=is_raised)

    @property
    def alive(self) -> bool:
        """Whether bpftrace runs; one that was stopped goes on, which is told."""
        if self._launch is None:
            return False
        process, before = self._launch.process, self._launch.process.stops
        alive = process.alive
        if process.stops > before == 0:
            terminal.say(f"note: bpftrace (pid {process.pid}) was stopped and goes on: {_MISSED}")
        return alive

    @property
    def pid(self) -> int:
        """bpftrace's process id."""
        return self._started.process.pid

    @property
    def received_bytes(self) -> int:
        """How much came from bpftrace, be it read or not."""
        return 0 if self._drain is None else self._drain.received_bytes

    @property
    def diagnostics(self) -> list[str]:
        """Lines that bpftrace printed beside its JSON, without colours.

        From 0.24 it colours what goes to a terminal.
        """
        text = _SCRIPT.sub("script.bt", _SGR.sub("", self._said.decode(errors="replace")))
        return [line for line in text.splitlines() if line.strip()]

    @property
    def status(self) -> int | None:
        """bpftrace's exit status, a signal as its negative number; None while it runs."""
        return None if self._launch is None else self._launch.process.status

    def open_window(self, interrupted: Callable[[], bool]) -> list[str]:
        """Waits until all probes are live, opens the window, returns the lines so far.

        This process renames itself over and over, and the script's task_rename probe answers with
        an 'open' record, which bpftrace passes on once it has attached every probe. Its own
        `attached_probes` is no sign of that: up to 0.23 it comes before loading. Raises
        RefusedError when bpftrace ends, BpftraceError when it stays silent or prints without end.
        """
        lines: list[str] = []
        deadline = time.monotonic() + LIVE_TIMEOUT_S
        while not any('"open|' in line for line in lines):
            if interrupted():
                return lines
            alive = self.alive
            _rename("mmaplock-bt/on")
            lines += self.read(ASK_S)
            if not alive:
                self._await_end()
                lines += self._lines(b"".join(iter(self._draining.take, b"")))
                raise self._early_end(lines)
            if self.received_bytes > FLOOD_BYTES:
                raise BpftraceError(f"bpftrace prints without end: {self._last_words(lines)}")
            if time.monotonic() > deadline and self._is_overdue(deadline):
                raise BpftraceError(
                    f"bpftrace's probes were not live after {LIVE_TIMEOUT_S:.0f} s; "
                    f"its last words: {self._last_words(lines)}"
                )
        self._started.is_live()
        perf_events.disable(self.pid)
        return lines

    def _is_overdue(self, deadline: float) -> bool:
        return time.monotonic() > deadline + min(cpu_time.busy_s(self.pid), WORK_S)

    def read(self, timeout_s: float, also: Iterable[int] = ()) -> list[str]:
        """Returns the next whole lines, not many at once.

        Waits at most `timeout_s` for something to come, for bpftrace's end, or until one of the
        descriptors in `also` can be read from.
        """
        self._wait(timeout_s, also)
        return self._lines(self._draining.take())

    def is_at_rest(self) -> bool:
        """Whether bpftrace has passed on all that it had: what has not been read is here.

        It sleeps, and slept while this looked. A busy one never is.
        """
        process = self._started.process
        before, is_empty = process.asleep(), self._draining.is_empty
        self._look_after(REST_S)
        return is_empty and before is not None and before == process.asleep()

    def close_window(self, *, is_past: bool = False) -> Iterator[str]:
        """Closes the window, lets bpftrace print its maps and end; yields the last lines.

        All this comes first: who reads the lines may be slow. Where another one has taken over
        (take_turn) this one `is_past`, and only its window is closed.
        """
        if self.alive:
            _rename("mmaplock-bt/old" if is_past else "mmaplock-bt/off")
            self._await_rest()
            # Not exit() in the script: that waits its turn behind every record in the buffer.
            self._started.process.signal(signal.SIGINT)
        self._await_end()
        for piece in iter(self._draining.take, b""):
            yield from self._lines(piece)
        if self._partial:
            yield self._partial.decode("utf-8", "surrogateescape")
            self._partial = b""

    @property
    def _started(self) -> Launch:
        assert self._launch is not None
        return self._launch

    @property
    def _draining(self) -> Drain:
        assert self._drain is not None
        return self._drain

    def _wait(self, timeout_s: float, also: Iterable[int] = ()) -> None:
        """Until lines come, bpftrace ends or time is up; keeps what bpftrace says meanwhile."""
        process, waiting = self._started.process, select.poll()
        for descriptor in (self._draining.arrived, process.pidfd, process.terminal, *also):
            if descriptor >= 0:
                waiting.register(descriptor, select.POLLIN)
        if any(ready == process.terminal for ready, _ in waiting.poll(timeout_s * 1000)):
            self._read_diagnostics()

    def _lines(self, piece: bytes) -> list[str]:
        *whole, self._partial = (self._partial + piece).split(b"\n")
        return [line.decode("utf-8", "surrogateescape") for line in whole]

    def _await_rest(self) -> None:
        """Until what the kernel buffers has come: a signalled bpftrace drops it without a word.

        The 'close' record came and bpftrace has nothing more (other CPUs' buffers). What has not
        come within REST_GRACE_S is lost, and the script's own counts tell of it.
        """
        rest = Rest(self._started.process, self._draining)
        deadline = time.monotonic() + REST_GRACE_S
        while self.alive and time.monotonic() < deadline:
            self._look_after(REST_S)
            if rest.is_reached() and self._draining.has_closed:
                break

    def _await_end(self) -> None:
        """Until bpftrace is gone and all of its stream is here.

        It is killed where it does not end within its grace.
        """
        deadline = time.monotonic() + STOP_GRACE_S
        while self.alive:
            self._look_after(0.1)
            if time.monotonic() > deadline:
                self._started.process.signal(signal.SIGTERM)
            if time.monotonic() > deadline + 2:
                self._started.process.signal(signal.SIGKILL)
        self._read_diagnostics()
        self._draining.stop()

    def _look_after(self, timeout_s: float) -> None:
        """Waits for bpftrace's end, and keeps what it says meanwhile."""
        process, waiting = self._started.process, select.poll()
        for descriptor in (process.pidfd, process.terminal):
            if descriptor >= 0:
                waiting.register(descriptor, select.POLLIN)
        if any(ready == process.terminal for ready, _ in waiting.poll(timeout_s * 1000)):
            self._read_diagnostics()

    def _start(self) -> None:
        self._launch = self._launched_ahead() or self._launched_now()
        self._drain = Drain(self._launch.stream, self.thinning)
        self._drain.start()

    def _launched_ahead(self) -> Launch | None:
        launch = self._head.launch(self.order) if self._head else None
        if launch is not None and launch.pids != self._pids(launch):
            launch.end()
            return None
        return launch

    def _launched_now(self) -> Launch:
        try:
            launch = self._launch = Launch(self.order)
        except PermissionError as error:
            raise TargetError(f"bpftrace is not started: {error.strerror}", SUDO) from error
        except OSError as error:
            mend = "mount -t devpts devpts /dev/pts, if that is not there"
            raise TargetError(f"no terminal for bpftrace ({error})", mend) from error
        launch.tell(self._pids(launch))
        return launch

    def _pids(self, launch: Launch) -> list[int]:
        """bpftrace's own, which no version can name, ours and the traced command's."""
        pids = [launch.process.pid, os.getpid(), self.root_pid or os.getpid()]
        return pid_namespace.translate(self.machine.path, pids)

    def _settings(self) -> dict[str, str]:
        keys = str(self.script.map_keys)
        # The first name up to 0.19, the second from 0.20; up to 0.23 the first makes it warn.
        return {
            "BPFTRACE_MAP_KEYS_MAX": keys,
            "BPFTRACE_MAX_MAP_KEYS": keys,
            "BPFTRACE_PERF_RB_PAGES": str(self._buffer_pages()),
            "BPFTRACE_NO_USER_SYMBOLS": "1",  # up to 0.20; see user_frames
            "TERM": "dumb",
        }

    def _buffer_pages(self) -> int:
        """A power of 2, for each buffer.

        There is one for each CPU up to 0.17, one in all from 0.18, which brought ustack(raw), too.
        """
        buffers = 1 if self.machine.facts.get("ustack_raw") else self.machine.cpus
        pages = BUFFER_BYTES // mmap.PAGESIZE // buffers
        return max(64, 1 << max(0, pages.bit_length() - 1))  # 64 is its default; a power of 2

    def _read_diagnostics(self) -> None:
        for _ in range(100):  # a flood must not hold up the rest
            said = self._started.process.said()
            if not said:
                break
            self._said += said
        self._said = self._said[-DIAGNOSTIC_BYTES:]

    def _early_end(self, lines: list[str]) -> Failure:
        """The error for a bpftrace that ended before its probes were live.

        Only what it exits with, or a crash of its own, is about the script.
        """
        self._read_diagnostics()
        status = self.status or 0
        version, how = f"bpftrace {self.machine.bpftrace}", how_ended(status)
        if self.script.plan is not None:
            version = "the tracefs engine"
        if status <= 0 and -status not in _CRASHES:
            return BpftraceError(f"{version} ended before its probes were live ({how}): {_KILLED}")
        if self.script.plan is not None:
            found, _, mend = " / ".join(self.diagnostics).rpartition(": ")
            return TargetError(found or f"{version} ended at once ({how})", mend)
        what = "crashed on" if status < 0 else "refused"
        # With raw tracepoints it is tried once more without: the script that then fails is kept.
        kept = "" if self.script.is_raw else f"\n{self._kept_script()}"
        words = f"{self._last_words(lines)}{kept}"
        return RefusedError(f"{version} {what} the script ({how}): {words}")

    def _kept_script(self) -> str:
        """Nobody else can foresee its name, nor read it."""
        try:
            with person.acting():
                descriptor, kept = tempfile.mkstemp(".bt", "mmaplock-bt-refused-")
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(self.script.text)
        except OSError as error:
            return f"The script could not be kept ({error.strerror})"
        return f"The script is kept at {kept}"

    def _last_words(self, lines: list[str]) -> str:
        """The diagnostics, and what in the stream is no JSON."""
        stray = [line[:200] for line in lines[-DIAGNOSTIC_LINES:] if not line.startswith("{")]
        said = [line for line in self.diagnostics + stray if line.strip() and NOISE not in line]
        return "\n  ".join(["", *said[-DIAGNOSTIC_LINES:]]) if said else "(it said nothing)"

    def _end(self) -> None:
        if self._launch is not None:
            self._launch.process.end()
            if self.script.plan is not None:
                from mmaplock_bt.tracing import by_tracefs  # noqa: PLC0415

                by_tracefs.remove(self._launch.process.pid)
        if self._drain is not None:
            self._drain.close()
            self._drain = None
        if self._launch is not None:
            self._launch.end()
        with contextlib.suppress(OSError):
            if self._name:
                _rename(self._name)


class Rest:
    """Tells when bpftrace has passed on all that it had: it sleeps, and slept all the while.

    Its loop sleeps only when the buffers of all CPUs are empty. Where its sleep cannot be seen,
    nothing must have come for QUIET_S.
    """

    def __init__(self, process: Process, drain: Drain) -> None:
        self._process = process
        self._drain = drain
        self._switches: int | None = None
        self._received = -1
        self._quiet_since = time.monotonic()

    def is_reached(self) -> bool:
        """Whether it rests; to be asked at intervals."""
        now, before = self._process.asleep(), self._switches
        received = self._drain.received_bytes
        has_arrived, self._received = received != self._received, received
        # Blocked on a full pipe it sleeps, too.
        self._switches = now if self._drain.is_empty and not has_arrived else None
        if has_arrived:
            self._quiet_since = time.monotonic()
        slept = self._switches is not None and self._switches == before
        return slept or time.monotonic() - self._quiet_since > QUIET_S


def take_turn() -> None:
    """Tells scripts that take turns (templates/_agent.bt.j2): the next one's, on this CPU."""
    _rename("mmaplock-bt/new")


def _own_name() -> str:
    """This process's name; '' while another Tracer has changed it, and will restore it."""
    found = _COMM.read_text(encoding="utf-8", errors="surrogateescape")
    return "" if found.startswith(_WINDOW) else found


def _rename(name: str) -> None:
    _COMM.write_text(name, encoding="utf-8", errors="surrogateescape")
