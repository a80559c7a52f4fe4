"""The roads of docs/fleet.md, gone by the programs that they lead to."""

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from contextlib import suppress

import duckdb
import pytest

from mmaplock_bt import cli
from tests.unit.fleet.fleets import FIRST, saved
from tests.unit.fleet.test_docs import QUERIES

PATIENCE_S = 60


@pytest.fixture
def said(tmp_path, monkeypatch):
    """A fleet's Parquet in the current folder, and what `merge` says of it."""
    saved(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["merge", "runs", "-o", "fleet.parquet", "-o", "fleet.json"]) == 0
    return json.loads((tmp_path / "fleet.json").read_text())


def test_prometheus_makes_blocks_of_it(said, tmp_path):
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed: apt install prometheus")
    duckdb.sql(QUERIES["OpenMetrics"])
    argv = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "waited.om", "data"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    _, block, *_ = done.stdout.splitlines()
    assert block.split()[-4:-1] == ["2", "2", "2"], "a point for each window that tells waiting"


@pytest.fixture
def victoria(tmp_path):
    """VictoriaMetrics on a free port of loopback; stopped by the test."""
    program = shutil.which("victoria-metrics")
    if program is None:
        pytest.skip("victoria-metrics is not installed: apt install victoria-metrics")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    argv = [program, f"-storageDataPath={tmp_path}/vm", f"-httpListenAddr={address}",
            "-retentionPeriod=100y", "-search.latencyOffset=1s"]  # fmt: skip
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _until_healthy(address)
            yield f"http://{address}"
        finally:
            process.terminate()


def _until_healthy(address):
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        with suppress(OSError):
            urllib.request.urlopen(f"http://{address}/health", timeout=5).close()
            return
        time.sleep(0.1)
    pytest.fail("VictoriaMetrics does not answer")


def test_victoria_metrics_takes_it(said, victoria):
    duckdb.sql(QUERIES["OpenMetrics"].replace("epoch(start)", "epoch_ms(start)"))
    with open("waited.om", "rb") as lines:  # noqa: PTH123
        urllib.request.urlopen(f"{victoria}/api/v1/import/prometheus", lines.read()).close()
    urllib.request.urlopen(f"{victoria}/internal/force_flush").close()
    at = int(FIRST.timestamp()) + 60
    query = f"{victoria}/api/v1/query?query=mmaplock_window_waited_ratio&time={at}"
    with urllib.request.urlopen(query) as answer:
        found = json.load(answer)["data"]["result"]
    told = {one["metric"]["host"]: float(one["value"][1]) for one in found}
    wanted = {
        host["host"]: host["waited_ns"] / host["watched_ns"]
        for host in said["hosts"] if host["waited_ns"] is not None
    }  # fmt: skip
    assert told == pytest.approx(wanted)


def test_clickhouse_reads_the_parquet(said):
    chdb = pytest.importorskip("chdb", reason="chdb is not installed: pip install chdb")
    lines = str(chdb.query(QUERIES["ClickHouse"], "JSONEachRow")).splitlines()
    found = [json.loads(line) for line in lines]
    wanted = [one for one in said["histograms"] if one["output"] == "hold"]
    assert [(one["mode"], int(one["count"]), int(one["low"])) for one in found] == [
        (one["mode"], one["count"], one["quantiles"]["p99"][0]) for one in wanted
    ]
