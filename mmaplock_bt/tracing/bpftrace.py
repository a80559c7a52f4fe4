"""Runs bpftrace: starts it, opens and closes the window, yields its lines, leaves nothing behind.

bpftrace has a pty of its own (pexpect): diagnostics come from there, JSON comes from a FIFO.
However this process dies, the closing pty hangs bpftrace up and the parent-death signal kills it.
"""

import contextlib
import ctypes
import mmap
import os
import re
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect

from mmaplock_bt.errors import BpftraceError, RefusedError, TargetError
from mmaplock_bt.machine import pid_namespace
from mmaplock_bt.machine.features import NOISE
from mmaplock_bt.machine.inventory import Machine
from mmaplock_bt.script.render import Script

LIVE_TIMEOUT_S = 90.0
STOP_GRACE_S = 20.0
POLL_S = 0.02
QUIET_S = 0.15
DIAGNOSTIC_LINES = 12
DIAGNOSTIC_BYTES = 256 << 10  # the last ones are kept
FLOOD_BYTES = 4 << 20  # before the window opens no script prints so much
BUFFER_BYTES = 16 << 20  # in all
PR_SET_PDEATHSIG = 1
_SGR = re.compile(r"\x1b\[[0-9;]*m")
_COMM = Path("/proc/self/comm")


class Tracer:
    """A bpftrace process; a context manager that ends it on every way out.

    `root_pid` is the process whose tree is traced, 0 for none.
    """

    def __init__(self, script: Script, machine: Machine, root_pid: int = 0) -> None:
        self.script = script
        self.machine = machine
        self.root_pid = root_pid
        self.received_bytes = 0
        self._folder = Path(tempfile.mkdtemp(prefix="mmaplock-bt-"))
        self._partial = b""
        self._said = b""
        self._name = _COMM.read_text(encoding="utf-8", errors="surrogateescape")
        self._child: pexpect.spawn[bytes] | None = None
        self._stream = -1

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
    def alive(self) -> bool:
        """Whether bpftrace runs."""
        return self._child is not None and self._child.isalive()

    @property
    def pid(self) -> int:
        """bpftrace's process id: the shell that started it has become it."""
        assert self._child is not None and self._child.pid is not None
        return self._child.pid

    @property
    def diagnostics(self) -> list[str]:
        """Lines that bpftrace printed beside its JSON, without colours.

        From 0.24 it colours what goes to a terminal.
        """
        text = _SGR.sub("", self._said.decode(errors="replace"))
        return [line for line in text.splitlines() if line.strip()]

    @property
    def status(self) -> int | None:
        """bpftrace's exit status, a signal as its negative number; None while it runs."""
        child = self._child
        if child is None or child.signalstatus is None:
            return None if child is None else child.exitstatus
        return -child.signalstatus

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
            lines += self.read(POLL_S)
            if not alive:
                raise RefusedError(self._refusal(lines))
            if self.received_bytes > FLOOD_BYTES:
                raise BpftraceError(f"bpftrace prints without end: {self._last_words(lines)}")
            if time.monotonic() > deadline:
                raise BpftraceError(
                    f"bpftrace's probes were not live after {LIVE_TIMEOUT_S:.0f} s; "
                    f"its last words: {self._last_words(lines)}"
                )
        self._unlink()
        return lines

    def read(self, timeout_s: float) -> list[str]:
        """Returns the whole lines that arrived; waits at most `timeout_s` for the first."""
        assert self._child is not None
        watched = [self._stream] + ([] if self._child.closed else [self._child.fileno()])
        ready, _, _ = select.select(watched, [], [], timeout_s)
        if len(ready) and self._stream not in ready:
            self._read_diagnostics()
        if self._stream not in ready:
            return []
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._stream, 1 << 20)
            if not data:
                time.sleep(POLL_S)  # no writer (yet, or any more): select would spin
            self.received_bytes += len(data)
            *whole, self._partial = (self._partial + data).split(b"\n")
            return [line.decode("utf-8", "surrogateescape") for line in whole]
        return []

    def close_window(self) -> Iterator[str]:
        """Closes the window, lets bpftrace print its maps and end; yields the last lines."""
        if self.alive:
            _rename("mmaplock-bt/off")
            yield from self._drain()
            # Not exit() in the script: that waits its turn behind every record in the buffer.
            self._signal(signal.SIGINT)
        deadline = time.monotonic() + STOP_GRACE_S
        while self.alive:
            yield from self.read(POLL_S)
            if time.monotonic() > deadline:
                self._signal(signal.SIGTERM)
            if time.monotonic() > deadline + 2:
                self._signal(signal.SIGKILL)
        self._read_diagnostics()
        while lines := self.read(0):
            yield from lines
        if self._partial:
            yield self._partial.decode("utf-8", "surrogateescape")
            self._partial = b""

    def _drain(self) -> Iterator[str]:
        """What the kernel still buffers: a signalled bpftrace drops it without a word.

        Ends once the 'close' record came and nothing followed it for QUIET_S (other CPUs' buffers).
        """
        deadline = time.monotonic() + STOP_GRACE_S
        closed = False
        while self.alive and time.monotonic() < deadline:
            lines = self.read(QUIET_S)
            yield from lines
            if closed and not lines:
                return
            closed = closed or any('"close|' in line for line in lines)

    def _start(self) -> None:
        script = self._folder / "script.bt"
        script.write_text(self.script.text, encoding="utf-8")
        fifo = self._folder / "stream"
        os.mkfifo(fifo, 0o600)
        # Non-blocking: opening a FIFO waits for its writer, which is not started yet.
        self._stream = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        # Up to 0.22 a full map is silent without -k; from 0.23 it is reported anyway.
        flags = ["-k"] if self.machine.facts.get("helper_errors_flag") else []
        command = [self.machine.path, *flags, "-f", "json", "-o", str(fifo), str(script)]
        # The shell's pid is, after exec, bpftrace's own, which no version can name.
        line = 'IFS= read -r pids && exec "$@" $pids'
        try:
            self._child = pexpect.spawn(
                "/bin/sh",
                ["-c", line, "sh", *command],
                env=os.environ | self._environment(),
                echo=False,
                timeout=None,
                preexec_fn=_die_with_parent,
            )
        except OSError as error:
            mend = "mount -t devpts devpts /dev/pts, if that is not there"
            raise TargetError(f"no terminal for bpftrace ({error})", mend) from error
        pids = [self.pid, os.getpid(), self.root_pid or os.getpid()]
        known = pid_namespace.translate(self.machine.path, pids)
        self._child.sendline(" ".join(map(str, known)))
        # pexpect sleeps this long each time; 0.1 s by default.
        self._child.delayafterclose = self._child.delayafterterminate = 0.05

    def _environment(self) -> dict[str, str]:
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

    def _signal(self, number: int) -> None:
        child = self._child
        if child is not None and child.pid and child.isalive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, number)

    def _read_diagnostics(self) -> None:
        if self._child is None or self._child.closed:
            return
        with contextlib.suppress(pexpect.EOF, pexpect.TIMEOUT, OSError):
            for _ in range(100):  # a flood must not hold up the rest
                self._said += self._child.read_nonblocking(1 << 16, timeout=0)
        self._said = self._said[-DIAGNOSTIC_BYTES:]

    def _refusal(self, lines: list[str]) -> str:
        """The sentence for a bpftrace that ended before its probes were live."""
        self._read_diagnostics()
        kept = Path(tempfile.gettempdir()) / f"mmaplock-bt-refused-{os.getpid()}.bt"
        shutil.copy(self._folder / "script.bt", kept)
        return (
            f"bpftrace {self.machine.bpftrace} refused the script (status {self.status}): "
            f"{self._last_words(lines)}\nThe script is kept at {kept}"
        )

    def _last_words(self, lines: list[str]) -> str:
        """The diagnostics, and what in the stream is no JSON."""
        stray = [line[:200] for line in lines[-DIAGNOSTIC_LINES:] if not line.startswith("{")]
        said = [line for line in self.diagnostics + stray if line.strip() and NOISE not in line]
        return "\n  ".join(["", *said[-DIAGNOSTIC_LINES:]]) if said else "(it said nothing)"

    def _unlink(self) -> None:
        """bpftrace has both files open: from here on even SIGKILL leaves no file behind."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self) -> None:
        if self._child is not None:
            self._signal(signal.SIGKILL)
            self._child.close(force=True)
        if self._stream >= 0:
            os.close(self._stream)
            self._stream = -1
        self._unlink()
        with contextlib.suppress(OSError):
            _COMM.write_text(self._name, encoding="utf-8", errors="surrogateescape")


def _rename(name: str) -> None:
    _COMM.write_text(name, encoding="utf-8")


def _die_with_parent() -> None:
    """In the child: SIGKILL when the parent dies, and SIGINT as by default.

    A shell's background job ignores SIGINT; bpftrace would inherit that and miss its end.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
