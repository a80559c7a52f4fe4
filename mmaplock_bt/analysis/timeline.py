"""Histograms over time, from what the window's ticks told and what the script counted in all."""

from collections import Counter
from collections.abc import Iterator

from mmaplock_bt.result.model import Timeline
from mmaplock_bt.result.rows import Cell, TimelineRow
from mmaplock_bt.spec.columns import STANDARD
from mmaplock_bt.spec.outputs import Output, Outputs
from mmaplock_bt.stream import bpftrace_json, records
from mmaplock_bt.stream.collect import Collected

Counts = Counter[tuple[int, int]]  # by mode and power of two
_SOON = 0.75  # of a step's length: a tick may come early where the one before came late


def made(got: Collected, outputs: Outputs, sample: int = 1) -> Timeline | None:
    """Returns how histograms with a mode in their key grew; None where there was no tick.

    Steps are as long as the longest between two ticks was planned to be. What came after the last
    tick is the last step's, so that the steps add up to the output. Of `sample` locks one was
    followed.
    """
    opened_ns, closed_ns = got.opened_ns, got.closed_ns
    ticks = [one for one in got.ticks if opened_ns is not None and one.now_ns > opened_ns]
    if opened_ns is None or not ticks:
        return None
    steps = _steps(opened_ns, [one.now_ns for one in ticks])
    ends_ns = [ticks[at].now_ns - opened_ns for at in _lasts(steps)]
    ends_ns[-1] = max(ends_ns[-1], (closed_ns or 0) - opened_ns)
    found = {}
    for name, output in outputs.items():
        if output.kind == "histogram" and name not in got.hists:
            cells = _cells(name, output, got, ticks, steps)
            if cells:
                found[name] = list(_rows(cells, sample))
    return Timeline(ends_ns, found) if found else None


def _steps(began_ns: int, times: list[int]) -> list[int]:
    """The number of the step that each tick ends or is inside of."""
    longest = max(now - before for before, now in zip([began_ns, *times], times, strict=False))
    found, step, since = [], 0, began_ns
    for now in times:
        found.append(step)
        if now - since >= longest * _SOON:
            step, since = step + 1, now
    return found


def _lasts(steps: list[int]) -> list[int]:
    """The place of each step's last tick."""
    return [at for at, step in enumerate(steps) if at + 1 == len(steps) or steps[at + 1] != step]


def _cells(
    name: str, output: Output, got: Collected, ticks: list[records.Ticked], steps: list[int]
) -> dict[int, Counts]:
    """Counts by step; the last one has what ticks did not tell."""
    rest = _total(name, output, got)
    found: dict[int, Counts] = {}
    for step, tick in zip(steps, ticks, strict=True):
        for mode, lower, count in tick.counts.get(name, ()):
            key = mode, lower.bit_length()
            taken = min(count, rest[key])  # a stream that was cut off has no totals
            rest[key] -= taken
            if taken:
                found.setdefault(step, Counter())[key] += taken
    if rest := +rest:
        found.setdefault(steps[-1], Counter()).update(rest)
    return found


def _total(name: str, output: Output, got: Collected) -> Counts:
    """All that the script counted. What cannot be read is the output's to tell."""
    names = [column.name for column in output.columns]
    found: Counts = Counter()
    for key, count in got.maps.get(name, ()) if "mode" in names else ():
        parts = key.split(",")
        try:
            mode, lower = (bpftrace_json.integer(parts[at]) for at in (names.index("mode"), -1))
            records.label(mode, STANDARD["mode"])
        except (ValueError, IndexError):
            continue
        found[mode, lower.bit_length()] += count
    return found


def _rows(cells: dict[int, Counts], sample: int) -> Iterator[TimelineRow]:
    modes = sorted({mode for counts in cells.values() for mode, _ in counts})
    for mode in modes:
        own = [
            Cell(step, (1 << bits) >> 1, (1 << bits) - 1, count * sample)
            for step, counts in sorted(cells.items())
            for (one, bits), count in sorted(counts.items())
            if one == mode
        ]
        yield {"key": {"mode": records.label(mode, STANDARD["mode"])}, "cells": own}
