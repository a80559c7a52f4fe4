"""Traces a window and analyses it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mmaplock_bt import standard_streams
from mmaplock_bt.analysis.analyse import analyse
from mmaplock_bt.analysis.making import Making
from mmaplock_bt.commands import fault
from mmaplock_bt.commands.live import Live, Watched
from mmaplock_bt.machine import features, raising
from mmaplock_bt.machine.inventory import Machine
from mmaplock_bt.result.model import Result
from mmaplock_bt.spec.profile import Profile
from mmaplock_bt.tracing import terminal
from mmaplock_bt.tracing.ending import Options
from mmaplock_bt.tracing.window import Window


@dataclass(frozen=True)
class Traced:
    """A window's result, and what is not in it.

    `interrupted` tells whether a signal came, be it after the window's end; `unwritten` why the raw
    stream is not whole, or ''.
    """

    result: Result
    interrupted: bool
    unwritten: str


def trace(
    chosen: Profile, machine: Machine, options: Options, watched: Watched | None = None
) -> Traced:
    """Traces a whole window and analyses it.

    `result.window.failure` tells of a bpftrace that died. Raises what entering a Window raises, and
    Fault.
    """
    _tell_of_symbols(chosen)
    window = Window(chosen, machine, options)
    with window, fault.keeping(lambda: {"raw.ndjson": window.salvaged()}):
        making = Making(window.head.outputs)
        with _looked_at(window, making, watched):
            result = analyse(window.head, window.records(), making)
    return Traced(result, window.interrupted, window.unwritten)


def _tell_of_symbols(chosen: Profile) -> None:
    """Says before it what the result's stacks will lack; a bpftrace that sudo starts is root's."""
    if raising.words() or not features.hides_symbols():
        return
    printed = (c for o in chosen.template.declaration.outputs.values() for c in o.printed)
    if any(column.type == "kernel_stack" for column in printed):
        standard_streams.tell(
            f"mmaplock-bt: {features.KALLSYMS} hides addresses: kernel stacks are numbers, causes "
            "are unknown, and events may be lost (in a container: --cap-add SYSLOG)"
        )


@contextmanager
def _looked_at(window: Window, making: Making, watched: Watched | None) -> Iterator[None]:
    """While the window is open; what is shown is gone when its end is analysed."""
    if watched is None:
        yield
        return
    terminal.progress("", quiet=False)  # it would come back when the screen goes
    with watched.shown() as show:
        live = Live(window.head, making, watched, show)
        window.onlooker = live
        try:
            yield
        finally:
            window.onlooker = None
            live.close()
