"""Histograms: figures, quantiles, and a bar for each power of two."""

from rich.console import Group, RenderableType
from rich.text import Text

from mmaplock_bt.escaping import safe
from mmaplock_bt.renderers.text.cells import PARTIES, SHOWN, cell, estimated, more, number
from mmaplock_bt.result.buckets import merged
from mmaplock_bt.result.model import HistogramData
from mmaplock_bt.result.rows import Bucket, HistogramRow, Interval, Row
from mmaplock_bt.spec.columns import STANDARD, Column
from mmaplock_bt.units import format_value

BAR = 28
KEY = 8  # characters of a key that leave room for the figures beside it
QUANTILES = ("p50", "p99")


def histograms(output: HistogramData, window_ns: int) -> RenderableType:
    """Returns a histogram for each key; where there are too many, merged over the processes.

    `window_ns` is the window's length, for rates and shares.
    """
    shown = output.rows
    if len(shown) > SHOWN:
        shown = _together(shown)
    parts = [_histogram(row, output.unit, window_ns) for row in shown[:SHOWN]]
    note = f"  {len(output.rows):,} histograms by process, together (each is in -o FILE.json)"
    split = [Text(note, style="dim")] if len(shown) < len(output.rows) else []
    return Group(*parts, *split, *more(shown))


def _together(rows: list[HistogramRow]) -> list[HistogramRow]:
    groups: dict[tuple[tuple[str, object], ...], list[HistogramRow]] = {}
    for row in rows:
        key = tuple((k, v) for k, v in row["key"].items() if k not in PARTIES)
        groups.setdefault(key, []).append(row)
    return [merged(found, Row(**dict(key))) for key, found in groups.items()]  # type: ignore[typeddict-item]


def _histogram(row: HistogramRow, unit: str, window_ns: int) -> RenderableType:
    quantiles = row["quantiles"]
    key, figures = key_text(row["key"]), _figures(row, unit, window_ns)
    about = _about(row)
    # A long key has a line of its own: no figure is cut off behind it.
    head = [f"  {key}", f"    {figures}"] if len(key) > KEY else [f"  {key}  {figures}"]
    lines = [
        *(Text(line, no_wrap=False, overflow="fold") for line in head),
        Text(
            "    " + "   ".join(f"{q} {interval(quantiles[q], unit)}" for q in QUANTILES),
            style="dim",
        ),
    ]
    return Group(*lines, *_bars(row["buckets"], unit, about))


def _figures(row: HistogramRow, unit: str, window_ns: int) -> str:
    count = estimated(f"{row['count']:,}", row, "count", "")
    total = estimated(number(row["sum"], unit), row, "sum", unit)
    about = _about(row)
    return (
        f"count {count}{_rate(row['count'], window_ns, about)}"
        f"  total {total}{_share(row['sum'], unit, window_ns, about)}"
        f"  max {number(row['max'], unit)}"
    )


def _about(row: HistogramRow) -> str:
    """The mark of an estimate."""
    return "~" if "count_error" in row else ""


def _bars(buckets: list[Bucket], unit: str, about: str) -> list[Text]:
    counts = octaves(buckets)
    if not counts:  # of what was lost only the maximum may have come
        return []
    most = max(counts.values()) or 1
    lines = []
    for power in range(min(counts), max(counts) + 1):
        count = counts.get(power, 0)
        low = format_value(1 << power if power else 0, unit)
        bar = "█" * round(BAR * count / most) or ("▏" if count else "")
        line = Text(f"    {low:>9} ")
        line.append(f"{bar:<{BAR}}", style="cyan")
        shown = f"{about if count else ''}{count:,}"
        lines.append(line.append(f" {shown:>11}"))
    return lines


def octaves(buckets: list[Bucket]) -> dict[int, int]:
    """Returns counts by power of two: the bars need no finer ones. What is below 0 joins 0."""
    found: dict[int, int] = {}
    for bucket in buckets:
        power = max(0, max(0, bucket.low or 0).bit_length() - 1)
        found[power] = found.get(power, 0) + bucket.n
    return found


def key_text(key: Row) -> str:
    """Writes a key: 'read  pid 7'."""
    return "  ".join(
        safe(value) if name == "mode" else f"{name} {cell(value, STANDARD.get(name, Column(name)))}"
        for name, value in key.items()
    )


def _rate(count: int, window_ns: int, about: str) -> str:
    return f" ({about}{count * 10**9 / window_ns:,.0f}/s)" if window_ns else ""


def _share(total: int | None, unit: str, window_ns: int, about: str) -> str:
    """Of the window; above 100 % where several threads or address spaces add up."""
    if total is None or unit != "ns" or not window_ns:
        return ""
    percent = 100 * total / window_ns
    return f" ({about}{percent:{',.0f' if percent >= 100 else '.2g'}} % of the window)"


def interval(ends: Interval, unit: str) -> str:
    """Writes a quantile's interval: '1.00 ms–1.12 ms', with an open end '≥ 1.00 ms'."""
    if ends.low is None:
        return f"≤ {number(ends.high, unit)}"
    if ends.high is None:
        return f"≥ {number(ends.low, unit)}"
    return f"{number(ends.low, unit)}–{number(ends.high, unit)}"
