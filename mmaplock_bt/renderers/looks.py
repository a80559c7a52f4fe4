"""What a look at sleeping threads found, for people."""

from mmaplock_bt.escaping import safe
from mmaplock_bt.result.model import Looked, Result

FRAMES = 4
_ROLES = {"waits": "waits for mmap_lock", "may hold": "may hold mmap_lock"}


def looks(result: Result) -> list[str]:
    """Returns lines about threads that slept when the window ended; none where none did."""
    if not result.looks:
        return []
    head = "Asleep when the window ended (a look at /proc/*/stack, no measurement; likely):"
    first = sorted(result.looks, key=lambda one: one.role)  # who may hold it
    lines = [head, *(line for one in first for line in _told(one))]
    if all(one.role == "waits" for one in result.looks):
        lines.append("  Nobody was seen asleep with it: who holds it runs, or has let go since.")
    return lines


def _told(one: Looked) -> list[str]:
    thread = f" thread {one.tid}" if one.tid != one.pid else ""
    frames = " < ".join(safe(frame.partition("+")[0]) for frame in one.kernel_stack[:FRAMES])
    who = f"{safe(one.comm)}[{one.pid}]{thread}"
    return [f"  {who} {_ROLES[one.role]}: {safe(one.cause)}", f"      {frames}"]
