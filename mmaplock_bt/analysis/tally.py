"""What is made of an output's events while they pass: the rows that stay, counts, tables."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from mmaplock_bt.analysis.grouping import Grouping
from mmaplock_bt.analysis.kept import Kept, Raw
from mmaplock_bt.analysis.weights import Weights
from mmaplock_bt.result.rows import CounterRow
from mmaplock_bt.spec.columns import Column
from mmaplock_bt.spec.outputs import Group, Output

CELLS = 2048  # counts by labels and cause; where there are more, by labels only


class Tally:
    """Follows an output's rows; `names` are their columns, `groups` the tables made of them.

    At least `first` rows are kept by rank.
    """

    def __init__(
        self,
        output: Output,
        names: tuple[str, ...],
        groups: Mapping[str, Group],
        first: int,
        weights: Weights | None = None,
    ) -> None:
        self.names = names
        self.kept = Kept(_rank(output, names), first)
        self.groups = {name: Grouping(one, names, weights=weights) for name, one in groups.items()}
        self._by = tuple(c.name for c in output.columns if _tells_apart(c) and c.name in names)
        self._counts: Counter[Raw] = Counter()

    def add(self, rows: Sequence[Raw]) -> None:
        """Takes the next rows."""
        self.kept.add(rows)
        for one in self.groups.values():
            one.add(rows)
        columns = (map(itemgetter(at), rows) for at in map(self.names.index, self._by))
        self._counts.update(zip(*columns, strict=True))
        if len(self._counts) > CELLS and "cause" in self._by:
            self._join_causes()

    def counts(self) -> list[CounterRow]:
        """Returns how many rows there were, by labels and cause."""
        if not self._by:
            return [{"key": {}, "count": self.kept.total}]
        counted = ((dict(zip(self._by, k, strict=True)), n) for k, n in self._counts.items())
        found: list[Any] = [{"key": key, "count": count} for key, count in counted]
        return found

    def _join_causes(self) -> None:
        at, counts = self._by.index("cause"), self._counts
        self._by = tuple(name for name in self._by if name != "cause")
        self._counts = Counter()
        for key, count in counts.items():
            self._counts[key[:at] + key[at + 1 :]] += count


def _tells_apart(column: Column) -> bool:
    return bool(column.labels) or column.name == "cause"


def _rank(output: Output, names: tuple[str, ...]) -> Callable[[Raw], int]:
    """How far in front a row belongs: the largest first, or the earliest."""
    name = rank_of(output)
    if name not in names:
        return lambda raw: 0
    at = names.index(name)
    if name == "time_ns":
        return lambda raw: -raw[at]
    return lambda raw: raw[at] or 0


def rank_of(output: Output) -> str:
    """Returns the column by which an output's rows are sorted."""
    return getattr(output, "rank", None) or ("time_ns" if output.kind == "events" else "count")
