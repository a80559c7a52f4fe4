"""Traces a window and analyses it."""

from dataclasses import dataclass

from mmaplock_bt.analysis.analyse import analyse
from mmaplock_bt.commands import fault
from mmaplock_bt.machine.inventory import Machine
from mmaplock_bt.result.model import Result
from mmaplock_bt.spec.profile import Profile
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


def trace(chosen: Profile, machine: Machine, options: Options) -> Traced:
    """Traces a whole window and analyses it.

    `result.window.failure` tells of a bpftrace that died. Raises what entering a Window raises, and
    Fault.
    """
    window = Window(chosen, machine, options)
    with window, fault.keeping(lambda: {"raw.ndjson": window.salvaged()}):
        result = analyse(window.head, window.records())
    return Traced(result, window.interrupted, window.unwritten)
