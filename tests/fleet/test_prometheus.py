"""A real Prometheus scrapes the agent, and the shipped alerts fire."""

import json
import shutil
import socket
import subprocess
import threading
import urllib.parse
import urllib.request

import pytest
import yaml

from mmaplock_bt import workload
from tests.fleet.conftest import FLEET
from tests.fleet.test_deploy import ALERTS, dashboard_queries, filled
from tests.kernel.agents import running

pytestmark = pytest.mark.kernel


@pytest.fixture
def prometheus(tmp_path):
    """Starts one that scrapes a target every second; returns what asks its API."""
    path = shutil.which("prometheus", path=f"{FLEET}:/usr/bin:/bin")
    if path is None:
        pytest.skip("prometheus is not installed: make fleet-tools")
    started = []

    def start(target: str):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(_config(target)))
        words = [path, f"--config.file={tmp_path}/prometheus.yml",
                 f"--storage.tsdb.path={tmp_path}/data",
                 f"--web.listen-address=127.0.0.1:{port}"]  # fmt: skip
        log = (tmp_path / "log").open("w")
        started.append(subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT))
        return lambda page, **asked: _asked(port, page, asked)

    yield start
    for one in started:
        one.terminate()
        one.wait()


def _config(target: str):
    return {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(ALERTS)],
        "scrape_configs": [
            {"job_name": "mmaplock", "static_configs": [{"targets": [target]}]}
        ],
    }  # fmt: skip


def _asked(port: int, page: str, asked: dict[str, str]):
    where = f"http://127.0.0.1:{port}/api/v1/{page}?{urllib.parse.urlencode(asked)}"
    with urllib.request.urlopen(where, timeout=30) as answer:
        told = json.load(answer)
    assert told["status"] == "success"
    return told["data"]


def _until(seen, what: str):
    """What is seen, once something is: within a minute."""
    for _ in range(300):
        try:
            if found := seen():
                return found
        except OSError:  # it is not there yet
            pass
        threading.Event().wait(0.2)
    raise AssertionError(f"never: {what}")


def test_a_stall_makes_the_alert_fire_and_every_panel_has_data(kernel, prometheus):
    with running() as agent:
        ask = prometheus(agent.url.removeprefix("http://"))
        _until(lambda: ask("query", query="mmaplock_up == 1")["result"], "a scrape")
        # Frozen with the lock held for 3 s, while threads of its process ask for it.
        subprocess.run(workload.command("frozen", 3, 256, 1), capture_output=True, check=True)
        (alert,) = _until(lambda: _alerts(ask, "MmapLockLongWait"), "the alert")
        assert alert["state"] == "firing" and alert["labels"]["mode"] == "write"
        told = ask("query", query="max_over_time(mmaplock_open_wait_seconds_max[1m])")["result"]
        assert float(told[0]["value"][1]) > 0.5
        found = {query: ask("query", query=filled(query)) for query in dashboard_queries()}
        assert {one["resultType"] for one in found.values()} == {"vector"}
        (by_cause,) = (one["result"] for query, one in found.items() if "by (cause)" in query)
        assert any("smaps" in one["metric"]["cause"] for one in by_cause)


def _alerts(ask, name: str):
    return [one for one in ask("alerts")["alerts"] if one["labels"]["alertname"] == name]
