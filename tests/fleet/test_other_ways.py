"""The ways out beside /metrics, taken by real servers: node_exporter, VictoriaMetrics, systemd."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.parse
import urllib.request

import pytest

from mmaplock_bt import workload
from tests.fleet.conftest import until
from tests.fleet.test_deploy import UNIT
from tests.kernel.agents import ROOMY, begun, running

pytestmark = pytest.mark.kernel
BLAMED = "mmaplock_blamed_wait_seconds_total"


def _configured(tmp_path, *lines: str) -> str:
    path = tmp_path / "agent.yaml"
    path.write_text("\n".join([ROOMY, *lines, ""]))
    path.chmod(0o600)
    return str(path)


def _got(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read().decode()


def test_node_exporter_tells_what_the_textfile_does(kernel, server, tmp_path):
    folder = tmp_path / "collected"
    folder.mkdir()
    where = server(
        "prometheus-node-exporter", "--web.listen-address=ADDRESS", "--collector.disable-defaults",
        "--collector.textfile", f"--collector.textfile.directory={folder}",
    )  # fmt: skip
    config = _configured(tmp_path, "textfile:", f"  path: {folder}/mmaplock.prom", "  every: 200ms")
    with running(config):
        told = until(lambda: _with(where, "mmaplock_up 1\n"), "the agent's metrics")
        assert "node_textfile_scrape_error 0\n" in told
        assert 'mmaplock_wait_seconds_bucket{mode="read",le="+Inf"} ' in told
    assert "mmaplock_up 0\n" in _got(f"http://{where}/metrics")


def _with(where: str, line: str) -> str:
    text = _got(f"http://{where}/metrics")
    return text if line in text else ""


def test_victoriametrics_takes_otlp_and_has_the_same_numbers(kernel, server, tmp_path):
    where = server(
        "victoria-metrics", "-httpListenAddr=ADDRESS", f"-storageDataPath={tmp_path}/data",
        "-search.latencyOffset=0s",
    )  # fmt: skip
    url = f"http://{where}/opentelemetry/v1/metrics"
    config = _configured(tmp_path, "otlp:", f"  url: {url}", "  every: 500ms")

    def found(query: str) -> dict[str, float]:
        asked = urllib.parse.urlencode({"query": query})
        told = json.loads(_got(f"http://{where}/api/v1/query?{asked}"))["data"]["result"]
        return {one["metric"].get("mode", ""): float(one["value"][1]) for one in told}

    with running(config) as agent:
        subprocess.run(workload.command("stalled", 300), capture_output=True, check=True)
        agent.await_value(BLAMED, 0.1, culprit="smaps-reader")
        blame = f'sum({BLAMED}{{culprit="smaps-reader"}})'
        # Its last part may be charged later: in the end both have all of it.
        until(lambda: found(blame).get("") == agent.value(BLAMED, culprit="smaps-reader"), blame)
        whole = 'mmaplock_wait_seconds_bucket{le="+Inf"} - ignoring(le) mmaplock_wait_seconds_count'
        assert until(lambda: found(whole), "histograms") == {"read": 0, "write": 0}
        assert agent.value("mmaplock_otlp_requests_total", outcome="sent") >= 1


def test_it_traces_with_the_units_capabilities_and_tells_systemd(kernel, tmp_path):
    """setpriv takes away what the unit does; the socket is systemd's."""
    names = re.search(r"^CapabilityBoundingSet=(.*)$", UNIT.read_text(), re.MULTILINE)[1].split()
    kept = ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in names)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(tmp_path / "notify"))
        told.settimeout(60)
        words = ["setpriv", f"--bounding-set=-all,{kept}", "--no-new-privs", sys.executable]
        place = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        words += ["-m", "mmaplock_bt", "agent", _configured(tmp_path)]
        with begun(words, os.environ | place) as agent:
            assert told.recv(4096).decode().startswith("READY=1\nSTATUS=tracing; http://")
            assert told.recv(4096) == told.recv(4096) == b"WATCHDOG=1"
            subprocess.run(workload.command("stalled", 300), capture_output=True, check=True)
            agent.await_value(BLAMED, 0.1, culprit="smaps-reader")
            agent.process.send_signal(signal.SIGHUP)
            said = [told.recv(4096)]
            while not said[-1].startswith(b"STATUS=tracing; the configuration was read anew"):
                said.append(told.recv(4096))
            assert any(one.startswith(b"RELOADING=1\nMONOTONIC_USEC=") for one in said)
            assert told.recv(4096) == b"READY=1"
        said = [told.recv(4096)]
        while said[-1] != b"STOPPING=1":
            said.append(told.recv(4096))
