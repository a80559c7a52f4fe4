"""Charges waits to what was done meanwhile, as they come: cumulative, in bounded memory.

Waits and holds of an address space are kept until nothing that overlaps them is outstanding; then
they are joined as in any other result (analysis/blame, analysis/convoys) and forgotten.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from mmaplock_bt.agent.cgroup_labels import CgroupLabels
from mmaplock_bt.agent.top_names import OTHER, TopNames
from mmaplock_bt.analysis import blame, causes, convoys
from mmaplock_bt.analysis.naming import Rows
from mmaplock_bt.spec import causes as known
from mmaplock_bt.spec.columns import CHARGED
from mmaplock_bt.stream.memo import Memo
from mmaplock_bt.stream.records import Events
from mmaplock_bt.stream.stacks import Stack

SETTLE_NS = 10**9  # CPUs' records come in different order, but not later than this
LATEST_NS = 5 * 10**9  # a lock that never comes to rest is charged in pieces
MOST = 20_000  # waits and holds that are kept, of all locks
UNKNOWN = "unknown"
Blamed = tuple[str, str, str, str]  # cause, mode of the wait, labels of culprit and cgroup


class _Space:
    """What is kept of one address space."""

    def __init__(self) -> None:
        self.waits: list[Any] = []
        self.holds: list[Any] = []

    @property
    def count(self) -> int:
        return len(self.waits) + len(self.holds)


class Charging:
    """Keeps the books of who waited for what; `blamed_ns`, `convoys` and
    `stackless` only grow."""

    def __init__(self, names: TopNames, cgroups: CgroupLabels | None = None) -> None:
        self.names = names
        self.cgroups = cgroups or CgroupLabels()
        self.blamed_ns: Counter[Blamed] = Counter()
        self.convoys = 0
        self.stackless = 0  # holds without a stack
        self._spaces: dict[str, _Space] = {}
        self._count = 0
        self._causes = Memo[Stack, str](lambda stack: label(causes.classify(stack)))

    @property
    def count(self) -> int:
        """How many waits and holds are kept."""
        return self._count

    def follow(self, names: Iterable[str], top: int, cgroups: Iterable[str]) -> None:
        """Has other names and cgroups as labels from now on; series of others are no more."""
        self.names.follow(names, top)
        self.cgroups.follow(cgroups)
        for key in [key for key in self.blamed_ns if key[3] not in self.cgroups.labels | {""}]:
            del self.blamed_ns[key]

    def take(self, events: Events) -> None:
        """Takes rows of the outputs waits and holds of templates/_agent.bt.j2."""
        for row in events.rows:
            told: Any = dict(zip(events.names, row, strict=True))
            told |= {"tid": told.pop("thread"), "pid": None, "comm": told.get("comm")}
            space = self._spaces.setdefault(told["mm"], _Space())
            if events.output == "waits":
                told["cgroup"] = self.cgroups.label(told["cgroup"])
                space.waits.append(told)
            else:
                told["cause"] = self._causes[told["kernel_stack"]]
                self.stackless += not told["kernel_stack"]
                space.holds.append(told)
            self._count += 1
        if self._count > MOST:
            self.settle(2**63, {})

    def settle(self, now_ns: int, open_since: Mapping[str, int]) -> None:
        """Charges what can be; `open_since`: when the first wait of each lock began that lasts."""
        for mm, space in list(self._spaces.items()):
            before = space.count
            self._settle(space, now_ns - SETTLE_NS, open_since.get(mm))
            self._count += space.count - before
            if not space.count:
                del self._spaces[mm]

    def _settle(self, space: _Space, until_ns: int, open_since_ns: int | None) -> None:
        ripe = [wait for wait in space.waits if wait["time_ns"] <= until_ns]
        begins = [_began(wait) for wait in space.waits if wait["time_ns"] > until_ns]
        begins += [] if open_since_ns is None else [open_since_ns]
        outstanding_ns = min(begins, default=until_ns)
        last_ns = max((wait["time_ns"] for wait in ripe), default=0)
        first_ns = min((wait["time_ns"] for wait in ripe), default=until_ns)
        if outstanding_ns < last_ns and first_ns > until_ns - LATEST_NS:
            return
        if ripe:
            self._charge(ripe, space.holds)
            done = set(map(id, ripe))
            space.waits = [wait for wait in space.waits if id(wait) not in done]
        space.holds = [hold for hold in space.holds if hold["time_ns"] > outstanding_ns]

    def _charge(self, waits: list[Any], holds: list[Any]) -> None:
        cgroups = {(wait["tid"], wait["time_ns"]): wait["cgroup"] for wait in waits}
        for one in blame.charges(Rows(more=waits), Rows(more=holds)):
            row: Any = one
            cgroup = cgroups[row["victim_tid"], row["time_ns"]]
            culprit = self.names.label(row.get("culprit") or "", row["charged_ns"])
            for mode in ("read", "write"):
                if row[f"{mode}_ns"]:
                    self.blamed_ns[row["cause"], mode, culprit, cgroup] += row[f"{mode}_ns"]
        for name in self.names.taken_off():
            for key in [key for key in self.blamed_ns if key[2] == name]:
                del self.blamed_ns[key]
        self._count_convoys(waits, holds)

    def _count_convoys(self, waits: list[Any], holds: list[Any]) -> None:
        """Each once, though its hold may be looked at again."""
        fresh = {(hold["tid"], hold["time_ns"]): hold for hold in holds if "led" not in hold}
        for row in convoys.find(Rows(more=waits), Rows(more=fresh.values())):
            fresh[row["tid"], row["time_ns"]]["led"] = True
            self.convoys += 1


def _began(wait: Any) -> int:
    return int(wait["time_ns"] - wait["wait_ns"])


@cache
def labels() -> frozenset[str]:
    """Returns every cause that there can be: what is in no table is OTHER."""
    return frozenset({*known.causes(), *CHARGED, OTHER, UNKNOWN})


def label(cause: str) -> str:
    """Returns a cause as one of a bounded number: without functions, advice or stacks."""
    if cause in labels():
        return cause
    if cause == causes.UNKNOWN:
        return UNKNOWN
    bare = cause.partition("(")[0]
    return bare if bare in labels() else OTHER
