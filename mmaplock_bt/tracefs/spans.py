"""The lock's state machine over a list of events: as templates/_every_lock.bt.j2, in Python.

Spans are keyed (tid, mm). What is begun before the window has no begin here; what follows a gap in
the events is begun anew: a span across it may be two.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from mmaplock_bt.stream.records import BITS
from mmaplock_bt.tracefs.pages import GOT, MM, MODE, TID, TIME, Event

Key = tuple[int, int]
# A hold: begin (ns), mode, depth of nested reads, whether it was asked for before the window.
Hold = list[int]
_BEGAN, _MODE, _NESTED, _LATE = range(4)


@dataclass
class Books:
    """What is counted, by the names of the books."""

    starts: int = 0
    acquires: int = 0
    failed: int = 0
    releases: int = 0
    downgrades: int = 0
    orphan_releases: int = 0


@dataclass
class Spans:
    """Follows waits, holds or both; each that ends, or begins, is given to who asks for it.

    `in_scope` tells whether a lock is meant, when it is asked for first.
    """

    waits: bool
    holds: bool
    in_scope: Callable[[Event], bool]
    wait_began: Callable[[Event], None]
    wait_ended: Callable[[Event, int], None]  # with its begin
    hold_began: Callable[[Event, int | None], None]  # with the wait's begin
    hold_ended: Callable[[Event, int, int], None]  # with its begin, and the mode that ends
    waiting: dict[Key, tuple[int, int]] = field(default_factory=dict)  # begin, mode
    holding: dict[Key, Hold] = field(default_factory=dict)
    books: Books = field(default_factory=Books)

    def start(self, event: Event) -> None:
        """A thread asks for the lock."""
        if self.waits and self.in_scope(event):
            self.waiting[event[TID], event[MM]] = (event[TIME], event[MODE])
            self.books.starts += 1
            self.wait_began(event)

    def acquired(self, event: Event) -> None:
        """It got it, failed to, or downgraded."""
        key = event[TID], event[MM]
        asked = self.waiting.pop(key, None) if self.waits else None
        if not event[GOT]:  # a trylock, perhaps inside an own hold: neither a wait nor an end of it
            self.books.failed += asked is not None
            return
        if asked is not None:
            self.books.acquires += 1
            if self.holds:
                self._hold(event, key, asked[0])
            self.wait_ended(event, asked[0])
        elif not self.holds:
            return
        elif self.waits:
            self._unasked(event, key)
        else:
            self._only_hold(event, key)

    def released(self, event: Event) -> None:
        """It let go. A read's release ends no own write hold, nor the other way round."""
        key = event[TID], event[MM]
        held = self.holding.get(key)
        if held is None or held[_MODE] != event[MODE]:
            if self.in_scope(event):
                self.books.orphan_releases += 1
            return
        if held[_LATE]:
            self.books.orphan_releases += 1
        else:
            self.books.releases += 1
        if held[_NESTED]:
            held[_NESTED] -= 1
            return
        del self.holding[key]
        self.hold_ended(event, held[_BEGAN], held[_MODE])

    def forget(self) -> None:
        """After a gap: nothing is known of what is open. The books show it as residue."""
        self.waiting.clear()
        self.holding.clear()

    def _hold(self, event: Event, key: Key, began_ns: int | None) -> None:
        held = self.holding.get(key)
        if held is not None and event[MODE] == held[_MODE] == 0:
            held[_NESTED] = min(held[_NESTED] + 1, BITS["any_nested"] // BITS["nested"])
            return
        # A write cannot nest: a release went unseen, and the old hold is written off (residue).
        self.holding[key] = [event[TIME], event[MODE], 0, 0]
        if held is None:
            self.hold_began(event, began_ns)

    def _unasked(self, event: Event, key: Key) -> None:
        held = self.holding.get(key)
        if held is not None and held[_MODE]:
            self._downgrade(event, held)
        elif held is None and self.in_scope(event):
            # Asked for before the window, got in it: the hold is measured, its wait is not.
            self.holding[key] = [event[TIME], event[MODE], 0, 1]

    def _only_hold(self, event: Event, key: Key) -> None:
        held = self.holding.get(key)
        if held is not None and held[_MODE] and not event[MODE]:
            self._downgrade(event, held)
        elif held is not None or self.in_scope(event):
            self.books.acquires += 1
            self._hold(event, key, None)

    def _downgrade(self, event: Event, held: Hold) -> None:
        """mmap_write_downgrade: acquire_returned(read) with no start. The exclusive part ends."""
        self.books.downgrades += 1
        self.books.acquires += 1
        began_ns = held[_BEGAN]
        held[:] = [event[TIME], 0, 0, held[_LATE]]
        self.hold_ended(event, began_ns, 1)

    def printed(self) -> tuple[dict[str, int], dict[str, int]]:
        """Returns what is open as bpftrace's maps of holds and waits would be printed."""
        holds = {
            f"{tid},{mm}": began << BITS["HOLD_TIME"] | late * BITS["late"]
            | nested * BITS["nested"] | mode
            for (tid, mm), (began, mode, nested, late) in self.holding.items()
        }  # fmt: skip
        waits = {
            f"{tid},{mm}": began << BITS["WAIT_TIME"] | mode
            for (tid, mm), (began, mode) in self.waiting.items()
        }
        return holds, waits
