"""What holders were seen doing while their holds lasted: a hold's own stack is of its release."""

from collections import defaultdict
from typing import Any

from mmaplock_bt.analysis import naming
from mmaplock_bt.result.rows import Row
from mmaplock_bt.spec.columns import FAULTING
from mmaplock_bt.stream import lock_frames
from mmaplock_bt.stream.collect import Collected, Doing
from mmaplock_bt.stream.records import Faulting


class Meanwhile:
    """The looks at holders, by address space and thread."""

    def __init__(self, got: Collected) -> None:
        self._seen: dict[tuple[str | None, int | None], list[Doing]] = defaultdict(list)
        for seen in got.seen.values():
            if seen.doing is not None:
                when_ns = naming.since(seen.doing.when_ns, got)
                told = seen.doing._replace(when_ns=when_ns)
                self._seen[seen.span.mm, seen.span.tid].append(told)

    def told(self, hold: Row) -> Row:
        """Returns the hold, with `reason`, `current_stack` and who faulted, where somebody looked.

        Of several looks the first that tells most.
        """
        looks = self._during(hold) if self._seen else []
        if not looks:
            return hold
        seen = max(looks, key=Doing.tells)
        why = {"reason": lock_frames.reason(seen.stack), "current_stack": seen.stack}
        row: Any = {**hold, **why, **faulting(seen.faulting)}
        return row  # type: ignore[no-any-return]

    def _during(self, hold: Row) -> list[Doing]:
        seen = self._seen.get((hold.get("mm"), hold.get("tid")), ())
        ended_ns = hold.get("time_ns") or 0
        began_ns = ended_ns - (hold.get("hold_ns") or 0)
        return [one for one in seen if began_ns <= one.when_ns <= ended_ns]


def faulting(seen: Faulting | None) -> dict[str, Any]:
    """Returns who is in a page fault as a row's columns; each None for nobody."""
    told = (None,) * len(FAULTING) if seen is None else (seen.tid, seen.comm, seen.kernel_stack)
    return dict(zip(FAULTING, told, strict=True))
