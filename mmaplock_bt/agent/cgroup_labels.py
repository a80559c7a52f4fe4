"""Which cgroups become labels: those that are listed, with all below them; all others are one."""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from mmaplock_bt.agent.top_names import OTHER
from mmaplock_bt.escaping import safe
from mmaplock_bt.machine import cgroups

AGAIN_NS = 500 * 10**6  # between two looks for a cgroup that is not known
MOST = 16_384  # ids that are remembered; of cgroups that are gone, above all


class CgroupLabels:
    """Labels for cgroups by their ids; a cgroup that is made again has another one.

    Without a list every label is ''. `below` returns the ids of a cgroup and of those below it.
    """

    def __init__(
        self, listed: Iterable[str] = (), below: Callable[[str], set[int]] | None = None
    ) -> None:
        self._below = below or cgroups.below
        self.follow(listed)

    def follow(self, listed: Iterable[str]) -> None:
        """Tells these from now on."""
        self._listed = sorted(listed, key=len)  # of two that hold a cgroup the inner one is told
        self._known: dict[int, str] = {}
        self._again_ns = 0

    @property
    def labels(self) -> set[str]:
        """All that there may be."""
        return {*map(safe, self._listed), OTHER} if self._listed else {""}

    def lacking(self) -> list[str]:
        """Returns those listed that are not there now."""
        return [path for path in self._listed if not self._found(path)]

    def label(self, cgroup: int) -> str:
        """Returns a cgroup's label; looks for one that is not known, not too often."""
        if not self._listed:
            return ""
        if cgroup not in self._known and time.monotonic_ns() >= self._again_ns:
            self._look()
            self._known.setdefault(cgroup, OTHER)
        return self._known.get(cgroup, OTHER)

    def _look(self) -> None:
        if len(self._known) > MOST:
            self._known.clear()
        for path in self._listed:
            self._known |= dict.fromkeys(self._found(path), safe(path))
        self._again_ns = time.monotonic_ns() + AGAIN_NS

    def _found(self, path: str) -> set[int]:
        with suppress(OSError):
            return self._below(path)
        return set()
