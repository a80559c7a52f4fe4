"""Many hosts as text: which waited most, what they say together, who waited for whom; as JSON."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mmaplock_bt.escaping import safe
from mmaplock_bt.fleet.merged import Cause, Fleet, Histogram, Host, Pair
from mmaplock_bt.renderers import console
from mmaplock_bt.result.rows import Interval
from mmaplock_bt.units import counted, format_ns, format_value

FIRST = 20  # of hosts, and of who waited for whom; -v shows ALL
ALL = 1000
FOLDED = 12  # letters of a name in a line, at least
WHYS = 3  # of a host, why windows are incomplete
NOTHING = "-"
_BY = {
    "waited": "share of time waited",
    "wait": "longest wait",
    "hold": "longest hold",
    "lost": "what was lost",
}
_LONGEST = ("longest\nwait", "longest\nhold")
_HOSTS = ("host", "windows", "time", "waited", "share", *_LONGEST, "incomplete")
_MEASURES = ("measure", "hosts", "count", "p50", "p99", "p99.9", "max")
_PAIRS = ("waited", "longest", "hosts", "victim", "culprit", "cause")
_CAUSES = ("waited", "longest", "hosts", "cause")
_LEFT = ("host", "measure", "victim", "culprit", "cause")


def render(
    fleet: Fleet, *, color: bool = False, detail: int = 0, width: int = console.WIDTH
) -> str:
    """Renders what many hosts say together; `detail` 1 is all hosts, each with its histograms."""
    out = console.make(color=color, width=width)
    out.print(Text(_title(fleet), style="bold"), soft_wrap=False)
    for note in fleet.notes:
        out.print(Text(f"note: {safe(note)}", style="yellow"), soft_wrap=False)
    most = ALL if detail else FIRST
    _section(out, "", _HOSTS, map(_host, fleet.hosts), most)
    _incomplete(out, fleet.hosts[:most])
    _measures(out, "All hosts", fleet.histograms)
    _section(out, "Who waited for whom", _PAIRS, map(_pair, fleet.pairs), most)
    _section(out, "Why", _CAUSES, map(_cause, fleet.causes), most)
    for host in fleet.hosts[:most] if detail else ():
        _measures(out, host.name, host.histograms)
    return console.text(out)


def to_json(fleet: Fleet, skipped: Sequence[str]) -> str:
    """Renders it as JSON, with what was not read."""
    whole = {
        "schema": 1,
        "rank": fleet.rank,
        "hosts": [_as_json(host) for host in fleet.hosts],
        "histograms": [_plain(one, buckets=True) for one in fleet.histograms],
        "pairs": [asdict(one) for one in fleet.pairs],
        "causes": [asdict(one) for one in fleet.causes],
        "notes": fleet.notes,
        "skipped": skipped,
    }
    return json.dumps(whole, indent=1) + "\n"


def _title(fleet: Fleet) -> str:
    windows = sum(host.windows for host in fleet.hosts)
    time = format_ns(sum(host.duration_ns for host in fleet.hosts))
    hosts = f"{counted(len(fleet.hosts), 'host')}, {counted(windows, 'window')} of {time} in all"
    return f"{hosts}; by {_BY[fleet.rank]}"


def _section(
    out: Console, title: str, heads: Sequence[str], rows: Iterable[Sequence[str]], most: int
) -> None:
    """A table; nothing where it has no row."""
    found = list(rows)
    if not found:
        return
    shown = found[:most]
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head in heads:
        is_text = head in _LEFT  # a figure is never cut
        grid.add_column(head, justify="left" if is_text else "right", no_wrap=not is_text,
                        overflow="fold")  # fmt: skip
    for row in shown:
        grid.add_row(*map(Text, row))
    out.print()
    if title:
        out.print(Text(title, style="bold"))
    given = out.width
    out.width = max(given, _needed(heads, shown))
    out.print(grid)
    out.width = given
    if left := len(found) - most:
        _more(out, left, most)


def _needed(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """How wide a table is at least: names may be folded, figures not."""
    columns = zip(heads, zip(*rows, strict=True), strict=True)
    lengths = ((head, max(map(len, (*head.split("\n"), *cells)))) for head, cells in columns)
    return sum(2 + (min(FOLDED, most) if head in _LEFT else most) for head, most in lengths)


def _more(out: Console, left: int, most: int) -> None:
    if left > 0:
        hint = "--json has all" if most == ALL else "-v shows more, --json all"
        out.print(Text(f"… and {left:,} more ({hint})", style="dim"))


def _measures(out: Console, title: str, found: Sequence[Histogram]) -> None:
    """A table for each way in which locks were followed: their times are not of one kind."""
    for followed in dict.fromkeys(map(_followed, found)):
        rows = [_measure(one) for one in found if _followed(one) == followed]
        _section(out, safe(f"{title}: {followed}"), _MEASURES, rows, ALL)


def _incomplete(out: Console, hosts: Sequence[Host]) -> None:
    for host in hosts:
        if host.incomplete:
            of = f"{host.incomplete:,} of {counted(host.windows, 'window')} incomplete"
            why = "; ".join(host.missing[:WHYS]) or "the file does not say why"
            others = f"; and {len(host.missing) - WHYS} others" if host.missing[WHYS:] else ""
            told = f"{host.name}: {of}: {why}{others}"
            out.print(Text(safe(told), style="bold yellow"), soft_wrap=False)


def _host(host: Host) -> tuple[str, ...]:
    share = host.waited_share
    return (
        safe(host.name), f"{host.windows:,}", format_ns(host.duration_ns), _ns(host.waited_ns),
        NOTHING if share < 0 else f"{share:.1%}", _ns(host.longest_wait_ns),
        _ns(host.longest_hold_ns), f"{host.incomplete:,}" if host.incomplete else NOTHING,
    )  # fmt: skip


def _measure(one: Histogram) -> tuple[str, ...]:
    quantiles = [_interval(one.row["quantiles"][name], one.unit) for name in _MEASURES[3:6]]
    top = one.row["max"]
    return (
        safe(f"{one.output} {one.mode}".strip()), f"{one.hosts:,}", f"{one.row['count']:,}",
        *quantiles, NOTHING if top is None else format_value(top, one.unit),
    )  # fmt: skip


def _followed(one: Histogram) -> str:
    """Which locks, and whose."""
    sample = "" if one.sample == 1 else f"1 in {one.sample:,} (an estimate)"
    return ", ".join(filter(None, (f"{one.locks} locks", sample, one.traced)))


def _interval(found: Interval, unit: str) -> str:
    low, high = found
    if low is None or low == high:
        return NOTHING if low is None else format_value(low, unit)
    first, last = format_value(low, unit), "" if high is None else format_value(high, unit)
    number, _, of = first.rpartition(" ")
    return f"{number if last.endswith(f' {of}') else first}–{last}"


def _pair(one: Pair) -> tuple[str, ...]:
    parties = (one.victim, one.culprit, one.cause)
    return (*_figures(one), *(NOTHING if name is None else safe(name) for name in parties))


def _cause(one: Cause) -> tuple[str, ...]:
    return (*_figures(one), NOTHING if one.cause is None else safe(one.cause))


def _figures(one: Pair | Cause) -> tuple[str, ...]:
    return format_ns(one.sum_ns), _ns(one.longest_ns), f"{one.hosts:,}"


def _ns(value: int | None) -> str:
    return NOTHING if value is None else format_ns(value)


def _as_json(host: Host) -> dict[str, Any]:
    """Without buckets: those of all hosts stand beside, each one's in the Parquet."""
    whole = {
        name: value for name, value in vars(host).items() if name not in ("name", "histograms")
    }
    histograms = [_plain(one, buckets=False) for one in host.histograms]
    return {"host": host.name} | whole | {"histograms": histograms}


def _plain(one: Histogram, *, buckets: bool) -> dict[str, Any]:
    figures = ("count", "sum", "max", "quantiles", "count_error", "sum_error")
    names = ("output", "mode", "unit", "locks", "sample", "traced", "hosts", "windows")
    whole = {name: getattr(one, name) for name in names}
    whole |= {name: value for name, value in one.row.items() if name in figures}
    return whole | ({"buckets": one.row["buckets"]} if buckets else {})
