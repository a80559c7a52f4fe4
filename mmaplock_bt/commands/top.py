"""top: traces as run does, and shows on a screen who holds and who waits, until q.

The window goes on while the screen is frozen. The ordinary report follows its end.
"""

import argparse
import errno
import functools
import io
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from typing import TYPE_CHECKING

from mmaplock_bt import files, person, standard_streams
from mmaplock_bt.commands import fault, live, output, run
from mmaplock_bt.commands.live import Show, Watched
from mmaplock_bt.commands.tracing import Traced, trace
from mmaplock_bt.errors import UsageError
from mmaplock_bt.judging import series, verdicts
from mmaplock_bt.machine import inventory
from mmaplock_bt.machine.inventory import Machine
from mmaplock_bt.renderers.live.moment import Moment
from mmaplock_bt.result.saved import to_json
from mmaplock_bt.spec.profile import Profile
from mmaplock_bt.tracing import ending, terminal
from mmaplock_bt.tracing.ending import Options

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from mmaplock_bt.renderers.top.feed import Feed

Trace = Callable[[Watched], Traced]


def main(arguments: argparse.Namespace) -> int:
    """Traces until q, Ctrl-C or -d; then it is as with run."""
    person.serve(arguments.user)
    outputs = output.wanted(arguments)
    every_ns = live.every_ns(arguments.refresh)
    chosen = run.selected(arguments)
    draws = _draws()
    machine = inventory.probe(arguments.bpftrace)
    traces = functools.partial(_trace, chosen, machine)
    with ending.on_signals():
        traced = _on_screen(traces, every_ns) if draws else _in_lines(traces, every_ns)
        run.give_up_root()
        result = series.with_verdicts(traced.result, chosen.gates)
        with fault.delivering(lambda: {"result.json": to_json(result)}):
            made = series.judged([result], chosen.gates)
            with output.judged(verdicts.exit_code(made.verdicts)):
                output.deliver_series(outputs, made)
    return run.ended(made)


def _draws() -> bool:
    """Whether there is a terminal to draw on. Raises UsageError where only textual is missing."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    try:
        import_module("textual")
    except ImportError as error:
        raise UsageError(
            "top needs textual: install mmaplock-bt[tui], or textual itself; run --live does not"
        ) from error
    return True


def _trace(chosen: Profile, machine: Machine, watched: Watched) -> Traced:
    return trace(chosen, machine, Options(), watched)


def _in_lines(traces: Trace, every_ns: int) -> Traced:
    shown = functools.partial(live.shown, screen=False, color=False)
    return traces(Watched(every_ns, shown))


def _on_screen(traces: Trace, every_ns: int) -> Traced:
    from mmaplock_bt.renderers.top.app import Top  # noqa: PLC0415  (textual is an extra)

    with beside(traces, every_ns) as tracing:
        if not tracing.feed.has_ended.is_set():
            with _terminal_may_go():
                Top(tracing.feed).run()
    return tracing.outcome()


@contextmanager
def _terminal_may_go() -> Iterator[None]:
    """Once the terminal is gone the window ends, and what is still drawn goes nowhere.

    textual would read it without a pause. SIGHUP may not come: it is ignored, or the terminal is
    another session's.
    """
    drawn = [descriptor for descriptor in (0, 1, 2) if os.isatty(descriptor)]
    first = threading.Lock()  # of who tells it

    def gone(*_signal: object) -> None:
        if first.acquire(blocking=False):
            nowhere = os.open(os.devnull, os.O_RDWR)
            for descriptor in drawn:
                os.dup2(nowhere, descriptor)
            ending.end()

    before = signal.getsignal(signal.SIGHUP)
    if callable(before):  # else nohup's
        signal.signal(signal.SIGHUP, gone)
    try:
        with _lasting_stderr(), _watched(drawn[0], gone) if drawn else nullcontext():
            yield
    finally:
        signal.signal(signal.SIGHUP, before)


class _Lasting(io.FileIO):
    """A terminal that may go: what it takes no more is dropped."""

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return memoryview(data).nbytes


@contextmanager
def _lasting_stderr() -> Iterator[None]:
    """textual's writer would die of the first error, and its queue be waited for ever.

    It writes to sys.__stderr__, and may do so before anybody knows that the terminal is gone.
    """
    before = sys.__stderr__
    assert before is not None  # a terminal, or a file
    raw = _Lasting(before.fileno(), "w", closefd=False)
    sys.__stderr__ = io.TextIOWrapper(  # type: ignore[misc]
        io.BufferedWriter(raw), before.encoding, before.errors
    )
    try:
        yield
    finally:
        sys.__stderr__ = before  # type: ignore[misc]


@contextmanager
def _watched(descriptor: int, gone: Callable[[], None]) -> Iterator[None]:
    """Has a thread call `gone` when the terminal is hung up."""
    over, end = os.pipe()
    poll = select.poll()
    poll.register(descriptor, 0)  # a hang-up is told unasked
    poll.register(over, 0)

    def watch() -> None:
        if descriptor in dict(poll.poll()):
            gone()

    watcher = threading.Thread(target=watch, name="terminal")
    watcher.start()
    try:
        yield
    finally:
        os.close(end)
        watcher.join()
        os.close(over)


@contextmanager
def beside(traces: Trace, every_ns: int) -> Iterator["Tracing"]:
    """Traces in a thread of its own while the block runs: textual, as signals, is for the main one.

    The block begins when there is a moment to draw, or none will be.
    """
    from mmaplock_bt.renderers.top.feed import Feed  # noqa: PLC0415  (as the extra's screen)

    feed = Feed()
    shown = functools.partial(_fed, feed)
    tracing = Tracing(traces, Watched(every_ns, shown, feed.is_asked.is_set), feed)
    tracing.start()
    feed.has_begun.wait()
    try:
        yield tracing
    finally:
        if not feed.has_ended.is_set():
            ending.end()
        tracing.join()
        for note in feed.notes:
            standard_streams.tell(note)


@contextmanager
def _fed(feed: "Feed") -> Iterator[Show]:
    """Has moments shown by the thread that draws; writes them here, where root is given up."""

    def show(moment: Moment) -> None:
        feed.latest = moment
        feed.has_begun.set()
        if feed.is_asked.is_set():
            feed.is_asked.clear()
            feed.say(_written(moment))

    with terminal.taken(feed.say):
        yield show
        feed.has_ended.set()


def _written(moment: Moment) -> str:
    """Writes the result so far into the current folder; returns what to tell about it."""
    path = time.strftime("mmaplock-bt-%Y-%m-%dT%H-%M-%S.json")
    try:
        files.write(path, to_json(moment.result), force=False)
    except UsageError as error:
        return f"not written: {error}"
    except OSError as error:
        return f"not written: {path}: {error.strerror}"
    return f"written: {path} (the result so far)"


class Tracing(threading.Thread):
    """The window, from its opening until its result."""

    def __init__(self, traces: Trace, watched: Watched, feed: "Feed") -> None:
        super().__init__(name="tracing")
        self.feed = feed
        self._traces, self._watched = traces, watched
        self._traced: Traced | None = None
        self._failure: BaseException | None = None

    def run(self) -> None:
        """Traces; whatever ends it is kept for the main thread."""
        try:
            self._traced = self._traces(self._watched)
        except BaseException as failure:
            self._failure = failure
        finally:
            self.feed.has_ended.set()
            self.feed.has_begun.set()

    def outcome(self) -> Traced:
        """Returns what was traced, or raises why it was not."""
        if self._failure is not None:
            raise self._failure
        assert self._traced is not None
        return self._traced
