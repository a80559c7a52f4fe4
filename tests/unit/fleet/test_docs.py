"""Every query of docs/fleet.md gives what the command says."""

import json
import re

import duckdb
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from mmaplock_bt.fleet import folders, table, windows
from tests.builders import HOSTILE, ROOT
from tests.unit.fleet.fleets import FIRST, FLEET, saved

PAGE = (ROOT / "docs/fleet.md").read_text()
QUERIES = dict(re.findall(r"```sql\n-- (.*)\n((?:.*\n)*?)```", PAGE))
SOURCES = ("files", "Parquet")
ROADS = ("OpenMetrics", "ClickHouse")  # of the latter: tests/readers


@pytest.fixture
def said(cli, tmp_path, monkeypatch):
    """What the command says of the files that the queries find in the current folder."""
    saved(tmp_path)
    monkeypatch.chdir(tmp_path)
    done = cli("merge", "runs", "--json", "-o", "fleet.parquet")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def hostile(cli, tmp_path, monkeypatch):
    """The Parquet of a fleet in which a host has such a name."""
    saved(tmp_path, {HOSTILE: FLEET["web1"], "web2": FLEET["web2"]})
    monkeypatch.chdir(tmp_path)
    assert cli("merge", "runs", "--json", "-o", "fleet.parquet").returncode == 0
    return tmp_path


def asked(question, source):
    """A query's rows as objects."""
    with duckdb.connect() as connection:
        connection.execute(QUERIES["files"])
        done = connection.execute(QUERIES[f"{question}, of {source}"])
        names = [column[0] for column in done.description]
        return [dict(zip(names, row, strict=True)) for row in done.fetchall()]


def test_every_query_is_tried():
    assert len(QUERIES) == PAGE.count("```sql") == 1 + 2 * 4 + len(ROADS)


@pytest.mark.parametrize("source", SOURCES)
def test_waited(said, source):
    names = ("host", "waited_ns", "watched_ns")
    wanted = [
        {n: host[n] for n in names} for host in said["hosts"] if host["waited_ns"] is not None
    ]
    assert asked("waited", source) == wanted and len(wanted) == 2


@pytest.mark.parametrize("source", SOURCES)
def test_p99(said, source):
    wanted = [
        {"locks": one["locks"], "mode": one["mode"], "count": one["count"],
         "low": one["quantiles"]["p99"][0], "high": one["quantiles"]["p99"][1]}
        for one in said["histograms"] if one["output"] == "hold"
    ]  # fmt: skip
    found = asked("p99", source)
    assert found == sorted(wanted, key=lambda one: (one["locks"], one["mode"]))
    assert [one["mode"] for one in found] == ["read", "write"]


@pytest.mark.parametrize("source", SOURCES)
def test_blame(said, source):
    names = ("victim", "culprit", "cause", "hosts", "sum_ns", "longest_ns")
    wanted = [{n: pair[n] for n in names} for pair in said["pairs"] if pair["culprit"] is not None]
    assert asked("blame", source) == wanted and len(wanted) == 3


@pytest.mark.parametrize("source", SOURCES)
def test_lost(said, source):
    names = ("lost_events", "map_full", "missed_events")
    wanted = [
        {
            "host": host["host"],
            "incomplete": host["incomplete"],
            **{n: host["lost"][n] for n in names},
        }
        for host in said["hosts"]
    ]
    assert asked("lost", source) == sorted(wanted, key=lambda one: one["host"])
    assert sum(one["lost_events"] for one in wanted) == 25


def test_openmetrics(hostile):
    duckdb.sql(QUERIES["OpenMetrics"])
    (family,) = text_string_to_metric_families((hostile / "waited.om").read_text())
    told = {sample.labels["host"]: sample for sample in family.samples}
    assert told.keys() == {HOSTILE, "web2"}
    assert told[HOSTILE].value == pytest.approx(2_000_027 / 10**9)
    assert float(told["web2"].timestamp) == FIRST.timestamp()


def test_the_bounds():
    page = " ".join(PAGE.split())
    assert f"{folders.FILES:,} files, {folders.DEPTH} folders deep" in page
    assert f"{windows.PAIRS:,} pairs of blame from a window" in page
    assert table.MEMORY == "1GB" and "1 GB for the table" in page
