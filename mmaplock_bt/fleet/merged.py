"""What the windows of many hosts say together. Counts are summed, quantiles made of merged buckets.

No quantile is the mean of others: that is a number without meaning.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mmaplock_bt.fleet.table import Table
from mmaplock_bt.fleet.windows import LOST
from mmaplock_bt.result.buckets import histogram_row
from mmaplock_bt.result.rows import Bucket, HistogramRow
from mmaplock_bt.units import counted

PAIRS = 1000  # of who waited for whom, that are told
MISSING = 20  # texts of what a host's windows lack
WAYS = 3  # of asking, that a note names
_KEYS = ("output", "mode", "unit", "locks", "sample", "traced")
_HOSTS = f"""
SELECT host, count(*) AS windows, sum(duration_ns) AS duration_ns, sum(waited_ns) AS waited_ns,
  sum(duration_ns) FILTER (waited_ns IS NOT NULL) AS watched_ns,
  max(longest_wait_ns) AS longest_wait_ns, max(longest_hold_ns) AS longest_hold_ns,
  count(*) FILTER (NOT complete) AS incomplete,
  list_slice(list_sort(list(DISTINCT missing) FILTER (missing <> '')), 1, {MISSING}) AS missing,
  {", ".join(f"sum({name}) AS {name}" for name in LOST)}
FROM windows GROUP BY host"""
_HISTOGRAMS = """
WITH flat AS (
  SELECT host, locks, sample, traced, unnest(h, max_depth := 1) FROM (
    SELECT host, locks, sample, traced, unnest(histograms) AS h FROM windows)),
totals AS (
  SELECT {keys}, count(DISTINCT host) AS hosts, count(*) AS windows, max(max) AS max,
    CASE WHEN count(sum) = count(*) THEN sum(sum) END AS sum, count(max) AS told
  FROM flat GROUP BY {keys}),
counts AS (
  SELECT {keys}, b.low AS low, b.high AS high, sum(b.n) AS n FROM (
    SELECT {keys}, unnest(buckets) AS b FROM flat) GROUP BY {keys}, b.low, b.high),
merged AS (
  SELECT {keys}, list([low, high, n] ORDER BY low) AS buckets FROM counts GROUP BY {keys})
SELECT * FROM totals JOIN merged USING ({keys}) ORDER BY {keys}"""
_PAIRS = f"""
SELECT b.victim AS victim, b.culprit AS culprit, b.cause AS cause, count(DISTINCT host) AS hosts,
  sum(b.count) AS count, sum(b.sum) AS sum_ns, max(b.max) AS longest_ns
FROM (SELECT host, unnest(blame) AS b FROM windows)
GROUP BY b.victim, b.culprit, b.cause
ORDER BY sum_ns DESC, victim, culprit, cause LIMIT {PAIRS + 1}"""
_CAUSES = """
SELECT b.cause AS cause, b.culprit IS NOT NULL AS charged, count(DISTINCT host) AS hosts,
  sum(b.count) AS count, sum(b.sum) AS sum_ns, max(b.max) AS longest_ns
FROM (SELECT host, unnest(blame) AS b FROM windows)
GROUP BY b.cause, charged ORDER BY sum_ns DESC, cause, charged"""
_OVERLAPS = """
SELECT host, count(*) FILTER (began < until) AS windows FROM (
  SELECT host, epoch_us(start)::HUGEINT * 1000 AS began,
    max(epoch_us(start)::HUGEINT * 1000 + duration_ns) OVER (
      PARTITION BY host ORDER BY start, file ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS until
  FROM windows WHERE waited_ns IS NOT NULL AND start IS NOT NULL)
GROUP BY host HAVING count(*) FILTER (began < until) > 0 ORDER BY host"""
_WAYS = """
SELECT profile, params, traced, locks, count(*) AS windows FROM windows
WHERE waited_ns IS NOT NULL GROUP BY ALL ORDER BY windows DESC, profile, params, traced, locks"""


@dataclass(frozen=True)
class Histogram:
    """One output's values of one mode; `host` is empty where it is of all of them."""

    host: str
    output: str
    mode: str
    unit: str
    locks: str
    sample: int
    traced: str
    hosts: int
    windows: int
    row: HistogramRow


@dataclass(frozen=True)
class Host:
    """What its windows add up to; None is 'not asked for'."""

    name: str
    windows: int
    duration_ns: int
    waited_ns: int | None
    watched_ns: int | None  # the length of the windows that tell waiting
    longest_wait_ns: int | None
    longest_hold_ns: int | None
    incomplete: int
    missing: tuple[str, ...]
    lost: dict[str, int]
    histograms: tuple[Histogram, ...] = ()

    @property
    def waited_share(self) -> float:
        """What was waited as a part of the time that was watched; -1 where nothing tells it."""
        if self.waited_ns is None:
            return -1.0
        return self.waited_ns / self.watched_ns if self.watched_ns else 0.0


@dataclass(frozen=True)
class Pair:
    """Who waited for whom and why, over all hosts; without a culprit no hold explains it."""

    victim: str | None
    culprit: str | None
    cause: str | None
    hosts: int
    count: int
    sum_ns: int
    longest_ns: int | None


@dataclass(frozen=True)
class Cause:
    """What was waited for one cause, over all hosts; not `charged`: no hold explains it."""

    cause: str | None
    charged: bool
    hosts: int
    count: int
    sum_ns: int
    longest_ns: int | None


@dataclass(frozen=True)
class Fleet:
    """All hosts, the first by rank, and what they say together."""

    rank: str
    hosts: tuple[Host, ...]
    histograms: tuple[Histogram, ...]
    pairs: tuple[Pair, ...]
    causes: tuple[Cause, ...]
    notes: tuple[str, ...]


# How hosts are ranked; further figures tell those apart that are alike.
RANKS: dict[str, Callable[[Host], tuple[Any, ...]]] = {
    "waited": lambda host: (host.waited_share,),
    "wait": lambda host: (_or_none(host.longest_wait_ns),),
    "hold": lambda host: (_or_none(host.longest_hold_ns),),
    "lost": lambda host: (host.incomplete / host.windows, sum(host.lost.values())),
}


def merge(table: Table, rank: str, notes: Sequence[str] = ()) -> Fleet:
    """Returns what the table's windows say together, hosts by `rank`, one of RANKS."""
    hosts = sorted(_hosts(table), key=lambda host: host.name)
    pairs = [Pair(**found) for found in table.ask(_PAIRS)]
    hosts.sort(key=lambda host: [*RANKS[rank](host), *_alike(host)], reverse=True)
    return Fleet(
        rank,
        tuple(hosts),
        tuple(_histograms(table, _KEYS)),
        tuple(pairs[:PAIRS]),
        tuple(Cause(**found) for found in table.ask(_CAUSES)),
        (*notes, *_many(pairs), *_overlaps(table), *_ways(table)),
    )


def _alike(host: Host) -> list[Any]:
    return [rank(host) for name, rank in RANKS.items() if name != "lost"]


def _or_none(ns: int | None) -> int:
    return -1 if ns is None else ns


def _hosts(table: Table) -> Iterator[Host]:
    of: dict[str, list[Histogram]] = {}
    for one in _histograms(table, ("host", *_KEYS)):
        of.setdefault(one.host, []).append(one)
    for found in table.ask(_HOSTS):
        name, missing = found.pop("host"), found.pop("missing")
        lost = {each: found.pop(each) for each in LOST}
        histograms = tuple(of.get(name, ()))
        yield Host(name, **found, missing=tuple(missing or ()), lost=lost, histograms=histograms)


def _histograms(table: Table, keys: tuple[str, ...]) -> Iterator[Histogram]:
    for found in table.ask(_HISTOGRAMS.format(keys=", ".join(keys))):
        buckets = [Bucket(*bucket) for bucket in found.pop("buckets")]
        top, told, total = (found.pop(name) for name in ("max", "told", "sum"))
        # A window without a maximum may hold a longer one.
        top = top if told == found["windows"] else None
        row = histogram_row({"mode": found["mode"]}, buckets, total, top, found["sample"])
        yield Histogram(**({"host": ""} | found), row=row)


def _many(pairs: Sequence[Pair]) -> Iterator[str]:
    if len(pairs) > PAIRS:
        yield f"of who waited for whom the first {PAIRS:,} are told; other sums are of all"


def _overlaps(table: Table) -> Iterator[str]:
    for found in table.ask(_OVERLAPS):
        windows = counted(found["windows"], "window")
        yield (
            f"{found['host']}: {windows} began before another one's end: what was waited in both "
            "counts twice"
        )


def _ways(table: Table) -> Iterator[str]:
    """What was waited depends on how it was asked for."""
    found: dict[str, int] = {}
    for one in table.ask(_WAYS):
        found[_way(one)] = found.get(_way(one), 0) + one["windows"]
    if len(found) > 1:
        told = [f"{way} ({counted(windows, 'window')})" for way, windows in found.items()]
        more = [f"{len(found) - WAYS} other ways"] if len(found) > WAYS else []
        yield f"waiting was asked for in {len(found)} ways: {'; '.join([*told[:WAYS], *more])}"


def _way(found: dict[str, Any]) -> str:
    """Depths of stacks change no sum."""
    times = [one for one in found["params"].split(", ") if "_ns " in one]
    asked = [found["profile"], *times, f"{found['locks']} locks", found["traced"]]
    return ", ".join(filter(None, asked))
