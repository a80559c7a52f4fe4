"""How much a holder held in each part of a window, as bars of a character each."""

from collections.abc import Iterable

BARS = " ▁▂▃▄▅▆▇█"


def bars(spans: Iterable[tuple[int, int]], window_ns: int, width: int) -> str:
    """Returns `width` bars for spans, given as (end, length); the highest is the busiest part's.

    Whatever was held is seen: the lowest bar is not blank.
    """
    held = _held(spans, max(1, window_ns), width)
    most = max(held, default=0)
    return "".join(BARS[-(-ns * (len(BARS) - 1) // most)] if ns else BARS[0] for ns in held)


def _held(spans: Iterable[tuple[int, int]], window_ns: int, width: int) -> list[int]:
    """How many ns were held in each part."""
    held = [0] * width
    for ended, length in spans:
        begin, end = max(0, ended - length), min(ended, window_ns)
        first, last = (min(width - 1, at * width // window_ns) for at in (begin, end))
        for at in range(first, last + 1):
            part = at * window_ns // width, (at + 1) * window_ns // width
            held[at] += max(0, min(end, part[1]) - max(begin, part[0]))
    return held
