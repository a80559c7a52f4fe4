"""What holders were seen doing while their holds lasted: a hold's own stack is of its release."""

from collections import defaultdict
from typing import Any

from mmaplock_bt.analysis import naming
from mmaplock_bt.result.rows import Row
from mmaplock_bt.stream import lock_frames
from mmaplock_bt.stream.collect import Collected


class Meanwhile:
    """The stacks of looks at holders, by address space and thread."""

    def __init__(self, got: Collected) -> None:
        self._seen: dict[tuple[str | None, int | None], list[tuple[int, list[str]]]] = defaultdict(
            list
        )
        for seen in got.seen.values():
            if seen.doing is not None:
                when, stack = seen.doing
                told = naming.since(when, got), stack
                self._seen[seen.span.mm, seen.span.tid].append(told)

    def told(self, hold: Row) -> Row:
        """Returns the hold, with `reason` and `current_stack` where somebody looked.

        Of several stacks the first that tells a reason.
        """
        stacks = self._during(hold) if self._seen else []
        told = [(lock_frames.reason(stack), stack) for stack in stacks]
        if not told:
            return hold
        why, stack = max(told, key=lambda one: bool(one[0]))
        seen: Any = {**hold, "reason": why, "current_stack": stack}
        return seen  # type: ignore[no-any-return]

    def _during(self, hold: Row) -> list[list[str]]:
        seen = self._seen.get((hold.get("mm"), hold.get("tid")), ())
        ended_ns = hold.get("time_ns") or 0
        began_ns = ended_ns - (hold.get("hold_ns") or 0)
        return [stack for when, stack in seen if began_ns <= when <= ended_ns]
