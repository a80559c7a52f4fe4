"""A moment as a line, for where there is no terminal."""

from mmaplock_bt.escaping import safe
from mmaplock_bt.renderers.live.moment import Moment, Rate
from mmaplock_bt.units import counted


def line(moment: Moment) -> str:
    """Returns time, rates, what is open, loss and the worst finding, with bars between them."""
    rates = [_rate(one) for one in moment.rates if any(one.per_s.values())]
    told = [
        moment.clock,
        *(rates or ["nothing counted"] * bool(moment.rates)),
        *([f"open: {moment.still_open}"] if moment.asks_for_open else []),
        f"INCOMPLETE: {moment.lost}" if moment.lost else "loss: none known",
        *([f"counts not read: {moment.unread}"] if moment.unread else []),
        *worst(moment),
    ]
    return safe(" | ".join(told))


def worst(moment: Moment) -> list[str]:
    """Returns the worst finding so far, and how many there are besides; empty where none is."""
    found = moment.found
    more = f" (and {counted(len(found) - 1, 'finding')} more)" if len(found) > 1 else ""
    return [found[0].sentence + more] if found else []


def _rate(one: Rate) -> str:
    modes = ", ".join(f"{mode} {number(per_s)}/s" for mode, per_s in one.per_s.items() if per_s)
    return f"{one.title}: {modes}"


def number(per_s: float) -> str:
    """Writes a rate: three digits where it is small."""
    return f"{per_s:,.0f}" if per_s >= 10 else f"{per_s:.1f}"
