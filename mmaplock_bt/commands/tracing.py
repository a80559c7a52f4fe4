"""Traces a window and analyses it."""

from mmaplock_bt.analysis.analyse import analyse
from mmaplock_bt.machine.inventory import Machine
from mmaplock_bt.result.model import Result
from mmaplock_bt.spec.profile import Profile
from mmaplock_bt.tracing.ending import Options
from mmaplock_bt.tracing.window import Window


def trace(chosen: Profile, machine: Machine, options: Options) -> Result:
    """Traces a whole window and returns its result.

    `window.failure` in it tells of a bpftrace that died. Raises what entering a Window raises.
    """
    with Window(chosen, machine, options) as window:
        return analyse(window.head, window.records())
