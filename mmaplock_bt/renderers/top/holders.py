"""Holders as rows of a table, in an order that is chosen; one of them in full."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rich.console import Group
from rich.text import Text

from mmaplock_bt.analysis import holders
from mmaplock_bt.analysis.holders import Holder
from mmaplock_bt.escaping import safe
from mmaplock_bt.renderers.live.moment import Moment
from mmaplock_bt.renderers.text.cells import who
from mmaplock_bt.renderers.top.sparkline import bars
from mmaplock_bt.result import entry_frames
from mmaplock_bt.units import format_ns

COLUMNS = ("holder", "others waited", "held", "longest", "holds", "open for", "cause")
WIDTH = 60  # of a sparkline
VICTIMS = 12
# What rows are sorted by, in the order in which `s` goes through it; the largest comes first.
ORDERS: dict[str, Callable[[Holder], int]] = {
    "others waited": lambda one: one.waited_ns,
    "held": lambda one: one.held_ns,
    "longest": lambda one: one.longest_ns,
    "holds": lambda one: one.holds,
    "open for": lambda one: one.open_ns,
}


@dataclass(frozen=True)
class Wanted:
    """What of a moment's holders is shown: those in which `text` is found, by `order`."""

    order: str = next(iter(ORDERS))
    text: str = ""

    def next(self) -> "Wanted":
        """Returns the same by the next order."""
        names = list(ORDERS)
        return Wanted(names[(names.index(self.order) + 1) % len(names)], self.text)


def chosen(moment: Moment, wanted: Wanted) -> list[Holder]:
    """Returns the holders in question; of equal ones the one that held longer comes first."""
    rank, text = ORDERS[wanted.order], wanted.text.casefold()
    found = holders.find(moment.result, moment.open)
    found = [one for one in found if text in searched(one)]
    return sorted(found, key=lambda one: (-rank(one), -one.held_ns, one.pid))


def searched(one: Holder) -> str:
    """Returns the text in which a filter looks: names, pids, cause, frames."""
    return "\n".join([_name(one), one.cause, *one.victims, *one.stack]).casefold()


def cells(one: Holder) -> list[Text]:
    """Returns a row's cells, in the order of COLUMNS."""
    times = (one.waited_ns, one.held_ns, one.longest_ns)
    told = [format_ns(ns) if ns else "-" for ns in times]
    still = format_ns(one.open_ns) if one.open_ns else "-"
    right = [Text(text, justify="right") for text in (*told, f"{one.holds:,}", still)]
    return [Text(_name(one)), *right, Text(safe(one.cause))]


def full(one: Holder, moment: Moment) -> Group:
    """Returns a holder with its sums, when it held, whom it kept waiting, and its stack."""
    window_ns = moment.standing.open_ns
    least = "at least " if holders.is_part(moment.result) else ""
    still = f", one open for {format_ns(one.open_ns)}" if one.open_ns else ""
    held = f"{least}{format_ns(one.held_ns)} in {one.holds:,} recorded holds"
    lines = [
        Text(_name(one), style="bold"),
        Text(f"held {held}, the longest {format_ns(one.longest_ns)}{still}"),
        Text(f"cause: {safe(one.cause or 'not told')}"),
        Text(""),
        Text(f"when it held, 0 to {format_ns(window_ns)}", style="bold"),
        Text(f"│{bars(one.times, window_ns, WIDTH)}│"),
        Text(""),
        Text(f"who waited for it, {format_ns(one.waited_ns)} in all", style="bold"),
        *_victims(one),
        Text(""),
        Text("kernel stack of its longest hold", style="bold"),
        *(Text(f"  {safe(frame)}") for frame in entry_frames.without(one.stack) or ["not told"]),
    ]
    return Group(*lines)


def _victims(one: Holder) -> Iterable[Text]:
    shown = one.victims.most_common(VICTIMS)
    for name, ns in shown:
        yield Text(f"  {format_ns(ns):>8}  {safe(name)}")
    if left := len(one.victims) - len(shown):
        yield Text(f"  … and {left:,} more", style="dim")
    if not shown:
        yield Text("  nobody of whom this profile knows", style="dim")


def _name(one: Holder) -> str:
    return who(one.name, one.pid)
