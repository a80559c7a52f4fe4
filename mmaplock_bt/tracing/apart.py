"""Work on what a stranger wrote, in a child with limits on time, memory and privileges."""

import json
import os
import resource
import select
import signal
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

from mmaplock_bt.machine import confinement
from mmaplock_bt.machine.confinement import at_most
from mmaplock_bt.tracing.process import die_with_parent

MEMORY_BYTES = 192 << 20  # more than this process has
OUTPUT_BYTES = 16 << 20
_PIECE = 1 << 16


class TooLongError(BaseException):
    """The time for one piece of work is over; no `except Exception` catches it."""


def results(work: Callable[[], Iterable[Any]], seconds: float) -> Iterator[Any]:
    """Yields what work() yields (plain JSON data) in a forked child, for so many seconds at most.

    It ends early, without a word, where the child fails, is killed, or says more than OUTPUT_BYTES.
    A child that hangs in the kernel is left behind: nobody can end it but whoever it waits for.
    """
    until_s = time.monotonic() + seconds
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # From 3.12 on: other threads run. They wait in the kernel, and the child has its limits.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _work(work, writer, seconds)
    os.close(writer)
    try:
        yield from map(json.loads, _lines(reader, until_s))
    finally:
        os.close(reader)
        _end(child)


def no_longer_than(seconds: float) -> None:
    """In the child: raises TooLongError in so many seconds; 0 means never."""
    signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def unprivileged() -> None:
    """In the child: from here on it may do no more than anybody, where the kernel lets it."""
    confinement.become_nobody()
    die_with_parent()  # a change of the user forgets it (prctl(2))


def _too_long(*_: object) -> None:
    raise TooLongError


def _work(work: Callable[[], Iterable[Any]], writer: int, seconds: float) -> None:
    """In the child. Does not return."""
    try:
        _limit(seconds)
        with os.fdopen(writer, "w", encoding="ascii") as out:
            for one in work():
                out.write(json.dumps(one) + "\n")
                out.flush()
    finally:
        os._exit(0)  # nothing of the parent's is flushed or closed twice


def _limit(seconds: float) -> None:
    die_with_parent()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    at_most(resource.RLIMIT_CPU, int(seconds) + 1)
    at_most(resource.RLIMIT_CORE, 0)
    at_most(resource.RLIMIT_AS, confinement.size_bytes() + MEMORY_BYTES)


def _lines(reader: int, until_s: float) -> Iterator[bytes]:
    rest, left = b"", OUTPUT_BYTES
    while (patience_s := until_s - time.monotonic()) > 0 and left > 0:
        if not select.select([reader], [], [], patience_s)[0]:
            return
        piece = os.read(reader, min(_PIECE, left))
        if not piece:
            return
        left -= len(piece)
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines


def _end(child: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    until_s = time.monotonic() + 1.0
    with suppress(ChildProcessError):
        while os.waitpid(child, os.WNOHANG)[0] == 0 and time.monotonic() < until_s:
            time.sleep(0.001)
