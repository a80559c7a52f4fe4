"""What kept a holder, in words."""

from typing import Any

from mmaplock_bt.escaping import safe
from mmaplock_bt.result.rows import column


def kept_by(row: Any) -> str:
    """Returns 'reclaim of memory' or 'page faults under way (postgres, thread 812)'; '' if unknown.

    `row` is an event, or a table's row with its key's columns beside the others.
    """
    reason, tid = column(row, "reason"), column(row, "faulting_tid")
    if not reason:
        return ""
    name = column(row, "faulting_comm") or "a thread without a name"
    return safe(reason) if tid is None else f"{safe(reason)} ({safe(name)}, thread {tid})"
