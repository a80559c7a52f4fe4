"""Who is in a page fault that a writer waits for: it has the lock of a mapping of its own (6.4).

No tracepoint tells: the writer sleeps in `__vma_start_write` (or `vma_mark_detached`) with
mmap_lock held, in no queue of it (mm/mmap_lock.c). A thread in a fault that sleeps, or has no CPU,
shows its stack in /proc; one that runs does not.
"""

import time
from itertools import islice
from pathlib import Path

from mmaplock_bt.stream import lock_frames
from mmaplock_bt.stream.records import Faulting
from mmaplock_bt.tracing import current_stack, proc_threads

PATIENCE_S = 0.2
STACKS = 200


def beside(tid: int, proc: Path = proc_threads.PROC) -> Faulting | None:
    """Returns a thread of the same process that is in a page fault; None where none is seen.

    It ends after PATIENCE_S, and reads no more than STACKS stacks.
    """
    deadline = time.monotonic() + PATIENCE_S
    others = (one for one in proc_threads.threads(tid, proc) if one.tid != tid and not one.is_idle)
    for thread in islice(others, STACKS):
        if time.monotonic() > deadline:
            break
        frames = current_stack.of_folder(thread.folder)
        if lock_frames.uses_mapping(frames):
            return Faulting(thread.tid, thread.comm, frames)
    return None
