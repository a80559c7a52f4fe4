"""What bpftrace writes, taken out of its pipe as it comes: bpftrace that waits loses events.

The analysis is slower than bpftrace. A thread reads in its stead, and keeps what is not yet asked
for. Beyond HELD_BYTES it leaves events out, beyond twice as much all that can be; it counts them.
"""

import fcntl
import math
import os
import select
import struct
import termios
import threading
import time
from collections import deque
from contextlib import suppress

from mmaplock_bt.stream.thinning import Thinning

CLOSED = b'"close|'
PIPE_BYTES = 1 << 20  # what anyone may have (/proc/sys/fs/pipe-max-size); 64 KiB by default
HELD_BYTES = 16 << 20  # read in a second or two, once the window has closed
TAKEN_BYTES = 1 << 16  # at once: between two of them the window is looked after
# bpftrace writes line by line. Where lines come thick the pipe may fill for a while: a read for
# each, and a look at it by the analysis, would cost the traced machine more than the events.
PAUSE_MS = 4


class Drain:
    """Reads a pipe in a thread of its own, from start() until its end or stop().

    `arrived` is a descriptor that can be read from while there is something to take.
    """

    def __init__(self, stream: int, thinning: Thinning, held_bytes: int = HELD_BYTES) -> None:
        self.received_bytes = 0
        self.has_closed = False  # whether the window's last line came
        self.arrived = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._stream = stream
        self._thinning = thinning
        self._held_bytes = held_bytes
        self._rest = b""  # of the last line, where it is not known yet whether it is kept
        self._is_cut = False  # what was kept ends within a line
        self._tail = b""
        self._stopping = os.eventfd(0, os.EFD_CLOEXEC)
        self._pieces: deque[memoryview] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Lock()
        self._is_stopped = False
        self._thread = threading.Thread(target=self._run, name="drain", daemon=True)
        with suppress(OSError):  # a smaller pipe is only narrower
            fcntl.fcntl(stream, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def start(self) -> None:
        """Begins to read."""
        self._thread.start()

    def take(self) -> bytes:
        """Returns at most TAKEN_BYTES of what came, in order; b'' when there is nothing."""
        with self._changed:
            if not self._pieces:
                return b""
            first = self._pieces.popleft()
            taken, rest = first[:TAKEN_BYTES], first[TAKEN_BYTES:]
            if rest:
                self._pieces.appendleft(rest)
            self._waiting_bytes -= len(taken)
            if not self._pieces:
                os.eventfd_read(self.arrived)
        return bytes(taken)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits in the pipe."""
        waiting = fcntl.ioctl(self._stream, termios.FIONREAD, bytes(4))
        return struct.unpack("i", waiting) == (0,)

    def stop(self) -> None:
        """Reads what is in the pipe, however much, and ends the thread."""
        self._is_stopped = True
        os.eventfd_write(self._stopping, 1)
        if self._thread.ident is not None:
            self._thread.join()

    def close(self) -> None:
        """Stops, and closes its descriptors; the stream stays open."""
        self.stop()
        os.close(self.arrived)
        os.close(self._stopping)

    def _run(self) -> None:
        self._read()
        self._append(self._rest)

    def _read(self) -> None:
        waiting = select.poll()
        waiting.register(self._stream, select.POLLIN)
        waiting.register(self._stopping, select.POLLIN)
        stopping = select.poll()
        stopping.register(self._stopping, select.POLLIN)
        buffer = memoryview(bytearray(PIPE_BYTES))
        read_ms = -math.inf
        while True:
            waiting.poll()
            if time.monotonic() * 1e3 - read_ms < PAUSE_MS:
                stopping.poll(PAUSE_MS)
            try:
                count = os.readv(self._stream, [buffer])
            except BlockingIOError:
                if self._is_stopped:
                    return
                continue
            if not count:  # bpftrace has closed it
                return
            self._keep(bytes(buffer[:count]))
            read_ms = time.monotonic() * 1e3

    def _keep(self, piece: bytes) -> None:
        self.received_bytes += len(piece)
        self.has_closed = self.has_closed or CLOSED in self._tail + piece
        self._tail = piece[-len(CLOSED) :]
        piece, self._rest = self._rest + piece, b""
        if self._waiting_bytes >= self._held_bytes:
            piece = self._thinned(piece)
        self._append(piece)

    def _thinned(self, piece: bytes) -> bytes:
        """What is left of whole lines; the end of one of which the rest was kept stays."""
        begin, newline, piece = piece.partition(b"\n") if self._is_cut else (b"", b"", piece)
        *lines, self._rest = piece.split(b"\n")
        is_hard = self._waiting_bytes >= 2 * self._held_bytes
        left = self._thinning.left(lines, is_hard=is_hard)
        return begin + newline + b"".join(line + b"\n" for line in left)

    def _append(self, piece: bytes) -> None:
        if not piece:
            return
        with self._changed:
            if not self._pieces:
                os.eventfd_write(self.arrived, 1)
            self._is_cut = not piece.endswith(b"\n")
            self._pieces.append(memoryview(piece))
            self._waiting_bytes += len(piece)
