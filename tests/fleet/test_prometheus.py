"""A real Prometheus scrapes a real agent: the alerts fire, and every panel has its data."""

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmaplock_bt import workload
from tests.fleet.conftest import tool
from tests.fleet.test_deploy import ALERTS, queries
from tests.kernel.agents import running

pytestmark = pytest.mark.kernel
PATIENCE_S = 60
# What takes hours on a fleet takes seconds here, and a read of smaps milliseconds.
SHORTER = {"5m": "20s", "10m": "1s", "15m": "20s", "1h": "20s"}
STALL = ("mmaplock_open_hold_seconds_max) > 0.2", "mmaplock_open_hold_seconds_max) > 0.002")


class Prometheus:
    """A server on loopback; `address` is HOST:PORT."""

    def __init__(self, address: str) -> None:
        self._url = f"http://{address}/api/v1/"

    def ask(self, path: str, **words: str) -> Any:
        """Returns the answer's data. Raises OSError."""
        url = f"{self._url}{path}?{urllib.parse.urlencode(words)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def result(self, query: str) -> list[Any]:
        return self.ask("query", query=query)["result"]

    def firing(self) -> set[str]:
        found = self.ask("alerts")["alerts"]
        return {one["labels"]["alertname"] for one in found if one["state"] == "firing"}


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[Prometheus]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    rules = re.sub(r"\b(\d+[mh])\b", lambda found: SHORTER[found[1]], ALERTS.read_text())
    assert STALL[0] in rules
    (folder / "alerts.yaml").write_text(rules.replace(*STALL))
    scraped = {"job_name": "mmaplock", "static_configs": [{"targets": [target]}]}
    every = {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"}
    config = {"global": every, "rule_files": ["alerts.yaml"], "scrape_configs": [scraped]}
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    options = [f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data",
               f"--web.listen-address={address}", "--log.level=error"]  # fmt: skip
    with subprocess.Popen([tool("prometheus"), *options]) as process:
        try:
            one = Prometheus(address)
            until(lambda: one.result("up == 1"))
            yield one
        finally:
            process.terminate()


def until(wanted: Callable[[], Any]) -> Any:
    """Asks until there is an answer, or fails."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with suppress(OSError):
            if found := wanted():
                return found
        time.sleep(0.1)  # between two questions; what is waited for is the answer
    raise AssertionError("it never came")


@contextmanager
def stalls() -> Iterator[None]:
    """A process that a reader of its smaps stalls, one read after the other."""
    words = workload.command("stalled", 2 * PATIENCE_S * 1000, 2048)
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, process_group=0) as process:
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_a_stall_fires_alerts_and_fills_every_panel(tmp_path):
    with running() as agent, prometheus(tmp_path, agent.url.removeprefix("http://")) as server:
        assert server.firing() == set()
        with stalls():
            until(lambda: {"MmapLockStall", "MmapLockWaitedFor"} <= server.firing())
            lacking = dict(queries())
            until(lambda: not _drop_answered(server, lacking))
        assert "MmapLockAgentIncomplete" not in server.firing()
        blamed = server.result("mmaplock_blamed_wait_seconds_total > 0")
        assert any("smaps" in one["metric"]["cause"] for one in blamed)


def _drop_answered(server: Prometheus, lacking: dict[str, str]) -> dict[str, str]:
    for panel, query in [*lacking.items()]:
        if server.result(query.replace("1m", "10s")):
            del lacking[panel]
    return lacking
