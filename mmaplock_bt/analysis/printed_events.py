"""Events as the script printed them, on their way into a tally."""

from mmaplock_bt.analysis import causes
from mmaplock_bt.analysis.kept import Raw
from mmaplock_bt.analysis.tally import Tally
from mmaplock_bt.spec.outputs import Output
from mmaplock_bt.stream.memo import Memo
from mmaplock_bt.stream.printed_lines import Taken
from mmaplock_bt.stream.stacks import Stack

BATCH = 1024  # rows that are looked at together


def names_of(output: Output) -> tuple[str, ...]:
    """Returns the columns of a printed output's raw rows."""
    names = [column.name for column in output.printed]
    return (*names, *(c.name for c in output.columns if c.name == "cause"))


class PrintedEvents:
    """Collects an output's events until there are enough to look at."""

    def __init__(self, output: Output, tally: Tally) -> None:
        self._tally = tally
        self._batch: list[Raw] = []
        names = tally.names
        place = {name: at for at, name in enumerate(names)}
        self._has_cause = "cause" in place
        self._stack = place.get("kernel_stack")
        self._pid, self._owner = place.get("pid"), place.get("owner_pid")
        self._comm, self._owner_comm = place.get("comm"), place.get("owner_comm")
        self._causes = Memo[Stack, str](causes.classify)

    def take(self, row: Raw) -> Taken:
        """Takes an event's row; nothing is left of it for others."""
        self._batch.append(row)
        if len(self._batch) >= BATCH:
            self.flush()
        return ()

    def flush(self) -> None:
        """Passes on what is there."""
        rows, self._batch = self._batch, []
        if self._has_cause:
            rows = self._with_cause(rows)
        if self._owner is not None or self._owner_comm is not None:
            rows = [self._with_owner(row) for row in rows]
        self._tally.add(rows)

    def _with_cause(self, rows: list[Raw]) -> list[Raw]:
        at, found = self._stack, self._causes
        if at is None:
            return [(*row, causes.UNKNOWN) for row in rows]
        return [(*row, found[row[at]]) for row in rows]

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
