"""Events as the script printed them, on their way into a tally."""

from collections.abc import Sequence

from mmaplock_bt.analysis import causes
from mmaplock_bt.analysis.kept import Raw
from mmaplock_bt.analysis.tally import Tally
from mmaplock_bt.spec.outputs import Output
from mmaplock_bt.stream.collect import Collected
from mmaplock_bt.stream.memo import Memo
from mmaplock_bt.stream.stacks import Stack, is_lost


def names_of(output: Output) -> tuple[str, ...]:
    """Returns the columns of a printed output's raw rows."""
    names = [column.name for column in output.printed]
    return (*names, *(c.name for c in output.columns if c.name == "cause"))


class PrintedEvents:
    """Adds what an output's events lack, and passes them on; counts stacks that did not come."""

    def __init__(self, output: Output, tally: Tally, got: Collected) -> None:
        self._tally = tally
        self._got = got
        names = tally.names
        place = {name: at for at, name in enumerate(names)}
        self._has_cause = "cause" in place
        self._stack = place.get("kernel_stack")
        self._pid, self._owner = place.get("pid"), place.get("owner_pid")
        self._comm, self._owner_comm = place.get("comm"), place.get("owner_comm")
        self._causes = Memo[Stack, str](causes.classify)

    def take(self, rows: Sequence[Raw]) -> None:
        """Takes the next rows."""
        if (at := self._stack) is not None:
            self._got.stackless += sum(len(row[at]) < 2 and is_lost(row[at]) for row in rows)
        if self._has_cause:
            rows = self._with_cause(rows)
        if self._is_ownerless(rows):
            rows = [self._with_owner(row) for row in rows]
        self._tally.add(rows)

    def _with_cause(self, rows: Sequence[Raw]) -> list[Raw]:
        at, found = self._stack, self._causes
        if at is None:
            return [(*row, causes.UNKNOWN) for row in rows]
        return [(*row, found[row[at]]) for row in rows]

    def _is_ownerless(self, rows: Sequence[Raw]) -> bool:
        """Whether one of the rows may lack its owner."""
        owner, comm = self._owner, self._owner_comm
        unowned = owner is not None and 0 in [row[owner] for row in rows]
        return unowned or (comm is not None and "" in [row[comm] for row in rows])

    def _with_owner(self, row: Raw) -> Raw:
        """A torn-down address space has no owner any more; the exiting process itself is known.

        For the name of another owner that had none stands its pid: it may be learnt later.
        """
        pid = None if self._owner is None else row[self._owner]
        is_named = self._owner_comm is None or row[self._owner_comm] != ""
        if is_named and pid != 0:
            return row
        changed = list(row)
        if self._owner is not None:
            changed[self._owner] = pid or None
        if self._owner_comm is not None and not is_named:
            changed[self._owner_comm] = self._actor(row) if self._is_own(row) else pid or 0
        return tuple(changed)

    def _is_own(self, row: Raw) -> bool:
        if self._owner is None or self._pid is None:
            return False
        return bool(row[self._owner] == row[self._pid] != 0)

    def _actor(self, row: Raw) -> str | None:
        return None if self._comm is None else row[self._comm]
