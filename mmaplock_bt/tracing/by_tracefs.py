"""The engine over tracefs as a window starts it, and as it leaves nothing behind."""

from contextlib import suppress

from mmaplock_bt.errors import TargetError
from mmaplock_bt.machine.inventory import TRACEFS_ENGINE, tracefs
from mmaplock_bt.script.plan import Plan
from mmaplock_bt.tracefs import instance
from mmaplock_bt.tracefs.tracer import Tracer
from mmaplock_bt.tracing import current_stack
from mmaplock_bt.tracing.descendants import descendants
from mmaplock_bt.tracing.launch import Order


def order(plan: Plan, text: str) -> Order:
    """Returns what is to be run. Raises TargetError where tracefs is not mounted."""
    tracer = Tracer(plan, tracefs(), descendants, current_stack.of_thread)
    return Order([TRACEFS_ENGINE], {}, text, work=tracer.main)


def remove(pid: int) -> None:
    """Removes what such a process has left, be it killed."""
    with suppress(TargetError):  # unmounted meanwhile
        instance.remove_of(tracefs(), pid)
