"""Who looks at a window while it is open."""

from dataclasses import dataclass
from typing import Protocol

from mmaplock_bt.stream.records import Dropped


@dataclass(frozen=True)
class Standing:
    """Where a window stands: since when it is open, what is left, what of its stream was dropped.

    `left_ns` is None where no duration was given.
    """

    bpftrace_pid: int
    open_ns: int
    left_ns: int | None
    dropped: Dropped


class Onlooker(Protocol):
    """Is asked between two readings of bpftrace's lines, all of which have been passed on."""

    def patience_s(self) -> float:
        """Returns how long it may take, in s, until it wants to look."""

    def look(self, standing: Standing) -> None:
        """Looks, where it is time to. What takes long only delays the analysis."""
