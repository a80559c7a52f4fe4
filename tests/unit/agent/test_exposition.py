"""What a scrape is told: readable by Prometheus' own parsers, and nothing that is not so now."""

import re
from collections import Counter
from dataclasses import replace

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from mmaplock_bt.agent import exposition
from mmaplock_bt.agent.allowance import Usage
from mmaplock_bt.agent.captures import Example
from mmaplock_bt.agent.exposition import buckets, families, rendered
from mmaplock_bt.agent.kernel_maps import Open
from mmaplock_bt.agent.supervision import REASONS, Snapshot, Tracing
from mmaplock_bt.machine import inventory

MS = 10**6
COUNTS = Counter(
    {
        ("wait", 0, 1023): 2, ("wait", 0, 1024): 3, ("wait", 1, 2**40): 5, ("wait", 1, 0): 1,
        ("wait_sum", 0): 5000, ("wait_sum", 1): 10**12, ("book_starts",): 11,
    }
)  # fmt: skip
TRACING = Tracing(
    COUNTS, {("fork", "write", 'a"\\', ""): 5 * MS}, 7, Open(0, 3 * MS, 2 * MS, {}), 0, MS
)
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def snapshot(tracing, reason=""):
    return Snapshot(tracing, reason, 1, 2, 6, 3, 4, 5, Usage(10**9, 2 * 10**9, 6, 7))


def lines(tracing, accept):
    return rendered(families(snapshot(tracing), inventory.offline()), accept)[0].decode()


def samples(tracing, reason="", accept=""):
    text, kind = rendered(families(snapshot(tracing, reason), inventory.offline()), accept)
    parse = text_string_to_metric_families
    if accept:
        parse = openmetrics.text_string_to_metric_families
        assert kind.startswith("application/openmetrics-text")
    told = list(parse(text.decode()))
    return {(s.name, frozenset(s.labels.values())): s.value for f in told for s in f.samples}


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_both_formats_tell_the_same(accept):
    found = samples(TRACING, accept=accept)
    assert found["mmaplock_up", frozenset()] == 1
    assert found["mmaplock_wait_seconds_sum", frozenset({"read"})] == 5e-6
    assert found["mmaplock_wait_seconds_count", frozenset({"write"})] == 6
    assert found["mmaplock_hold_seconds_count", frozenset({"write"})] == 0
    blamed = frozenset({"fork", "write", 'a"\\'})
    assert found["mmaplock_blamed_wait_seconds_total", blamed] == 0.005
    assert found["mmaplock_convoys_total", frozenset()] == 7
    assert found["mmaplock_open_hold_seconds_max", frozenset()] == 0.003
    assert found["mmaplock_books_residue", frozenset()] == 0
    assert found["mmaplock_cpu_seconds_total", frozenset({"bpftrace"})] == 2
    assert found["mmaplock_lost_events_total", frozenset()] == 1


def test_a_capture_is_the_exemplar_of_its_bucket():
    """In OpenMetrics only: the text format has none."""
    example = Example("20261130T0910-ab", "wait", "write", 300 * MS, 1.5)
    told = replace(TRACING, example=example)
    text = lines(told, OPENMETRICS)
    (line,) = [line for line in text.splitlines() if "# {" in line]
    assert line.startswith('mmaplock_wait_seconds_bucket{le="0.536870911",mode="write"} ')
    assert line.endswith('# {capture="20261130T0910-ab"} 0.3 1.5')
    assert "capture=" not in lines(told, "")
    open_one = replace(told, example=replace(example, mode=None))
    assert "# {" not in lines(open_one, OPENMETRICS)


def test_who_asks_often_costs_little_and_gets_each_kind(monkeypatch):
    made, now = [], [10**12]
    monkeypatch.setattr(exposition.time, "monotonic_ns", lambda: now[0])

    def told():
        made.append(1)
        return families(snapshot(TRACING), inventory.offline())

    page = exposition.Page(told)
    texts = {page.rendered("") for _ in range(100)}
    assert len(texts) == len(made) == 1
    text, kind = page.rendered(OPENMETRICS)
    assert kind.startswith("application/openmetrics-text") and text.endswith(b"# EOF\n")
    before = len(made)
    now[0] += exposition.FRESH_NS + 1
    page.rendered(OPENMETRICS)
    assert len(made) == before + 1


def test_le_is_the_largest_value_of_its_bucket():
    found = dict(buckets("wait", 0, COUNTS))
    assert found["1.023e-06"] == 2
    assert found["2.047e-06"] == found["+Inf"] == 5
    values = list(found.values())
    assert values == sorted(values)
    assert dict(buckets("wait", 1, COUNTS))["+Inf"] == 6


@pytest.mark.parametrize("reason", REASONS)
def test_while_nothing_is_traced_nothing_is_told_of_locks(reason):
    found = samples(None, reason)
    assert found["mmaplock_up", frozenset()] == 0
    assert found["mmaplock_down", frozenset({reason})] == 1
    assert sum(v for (name, _), v in found.items() if name == "mmaplock_down") == 1
    told = {name for name, _ in found}
    assert not [n for n in told if "wait" in n or "hold" in n or "convoys" in n or "residue" in n]
    assert found["mmaplock_restarts_total", frozenset()] == 4


def test_series_are_the_same_whatever_was_counted():
    """Of histograms: a bucket that comes later would be a jump."""
    without = Tracing(Counter(), {}, 0, Open(0), None, MS)
    names = {key for key in samples(without) if "seconds_bucket" in key[0]}
    assert names == {key for key in samples(TRACING) if "seconds_bucket" in key[0]}
    assert len(names) == 2 * 2 * 29


def test_cgroups_are_labels_where_some_are_listed():
    blamed = {("fork", "write", "a", "/b"): MS, ("fork", "write", "a", ""): 2 * MS}
    told = lines(replace(TRACING, blamed_ns=blamed), "")
    assert {'cgroup="/b"', 'cgroup=""'} == set(re.findall('cgroup="[^"]*"', told))
    assert 'cgroup="' not in lines(TRACING, "")
