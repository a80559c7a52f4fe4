"""The files in deploy/: systemd's unit, alert rules, the dashboard."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys

import pytest
import yaml

from mmaplock_bt import workload
from tests.kernel.agents import begun
from tests.shell import ROOT

DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "mmaplock-bt-agent.service"
ALERTS = DEPLOY / "alerts.yml"
MOST_EXPOSED = 5.0  # of systemd's 10; bpftrace needs CAP_SYS_ADMIN up to 0.24
VARIABLES = {"$instance": ".*", "$__rate_interval": "1m", "$__range": "1h"}
SERIES = {
    "MmapLockStuck": {'mmaplock_open_hold_seconds_max{instance="a"}': "0 0 2x9"},
    "MmapLockLongWait": {
        'mmaplock_wait_seconds_count{instance="a",mode="write"}': "5 6x9",
        'mmaplock_wait_seconds_bucket{instance="a",mode="write",le="0.268435455"}': "5 5x9",
    },
    "MmapLockBlamed": {
        'mmaplock_blamed_wait_seconds_total{instance="a",cause="fork",culprit="x",mode="read"}':
        "0+12x20"
    },
    "MmapLockWritersWait": {
        'mmaplock_wait_seconds_bucket{instance="a",mode="write",le="0.134217727"}': "0+0x20",
        'mmaplock_wait_seconds_bucket{instance="a",mode="write",le="0.268435455"}': "0+9x20",
        'mmaplock_wait_seconds_bucket{instance="a",mode="write",le="+Inf"}': "0+9x20",
    },
    "MmapLockAgentDown": {'mmaplock_up{instance="a"}': "0x30"},
    "MmapLockAgentIncomplete": {'mmaplock_lost_events_total{instance="a"}': "0+1x30"},
}  # fmt: skip
CALM = {
    'mmaplock_open_hold_seconds_max{instance="a"}': "0.9x30",
    'mmaplock_open_wait_seconds_max{instance="a"}': "0.9x30",
    'mmaplock_wait_seconds_count{instance="a",mode="write"}': "0+9x30",
    'mmaplock_wait_seconds_bucket{instance="a",mode="write",le="0.067108863"}': "0+9x30",
    'mmaplock_wait_seconds_bucket{instance="a",mode="write",le="0.268435455"}': "0+9x30",
    'mmaplock_wait_seconds_bucket{instance="a",mode="write",le="+Inf"}': "0+9x30",
    'mmaplock_blamed_wait_seconds_total{instance="a",cause="fork",culprit="x"}': "0+5x30",
    'mmaplock_up{instance="a"}': "1x30",
    'mmaplock_lost_events_total{instance="a"}': "7x30",
}


def rules():
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def test_the_rules_are_understood(promtool):
    assert promtool("check", "rules", str(ALERTS)) == ""


@pytest.mark.parametrize("alert", rules())
def test_each_alert_fires_on_what_it_is_for_and_not_on_calm(promtool, tmp_path, alert):
    told = [
        {"interval": "1m", "input_series": _input(series), "alert_rule_test": [
            {"eval_time": at, "alertname": alert, "exp_alerts": fires}]}
        for series, at, fires in ((SERIES[alert], "20m", None), (CALM, "30m", []))
    ]  # fmt: skip
    if alert in ("MmapLockLongWait", "MmapLockStuck"):
        told[0]["alert_rule_test"][0]["eval_time"] = "4m"
    del told[0]["alert_rule_test"][0]["exp_alerts"]  # firing, with whatever labels: see below
    (tmp_path / "calm.yml").write_text(
        yaml.safe_dump({"rule_files": [str(ALERTS)], "tests": told[1:]})
    )
    assert promtool("test", "rules", str(tmp_path / "calm.yml")) == ""
    (tmp_path / "fires.yml").write_text(
        yaml.safe_dump({"rule_files": [str(ALERTS)], "tests": told[:1]})
    )
    # Nothing is expected: what fires is told.
    assert re.search(
        rf"alertname=\"?{alert}\"?", promtool("test", "rules", str(tmp_path / "fires.yml"))
    )


def _input(series):
    return [{"series": name, "values": values} for name, values in series.items()]


def dashboard_queries():
    panels = json.loads((DEPLOY / "dashboard.json").read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def filled(query: str) -> str:
    """A query of the dashboard with values for Grafana's variables."""
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    assert "$" not in query
    return query


def test_the_dashboards_queries_are_understood(promtool, tmp_path):
    found = [{"record": f"q:{n}", "expr": filled(q)} for n, q in enumerate(dashboard_queries())]
    (tmp_path / "queries.yml").write_text(
        yaml.safe_dump({"groups": [{"name": "dashboard", "rules": found}]})
    )
    assert promtool("check", "rules", str(tmp_path / "queries.yml")) == ""


def test_the_dashboards_panels_do_not_overlap():
    panels = json.loads((DEPLOY / "dashboard.json").read_text())["panels"]
    taken = [
        (p["gridPos"]["x"] + x, p["gridPos"]["y"] + y)
        for p in panels for x in range(p["gridPos"]["w"]) for y in range(p["gridPos"]["h"])
    ]  # fmt: skip
    assert len(taken) == len(set(taken)) and max(x for x, _ in taken) < 24


@pytest.fixture
def analyze():
    path = shutil.which("systemd-analyze")
    if path is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")

    def run(*words: str) -> str:
        done = subprocess.run([path, *words], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    return run


def test_the_unit_is_understood(analyze, tmp_path):
    """The program is not installed where the unit has it."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/usr/bin/mmaplock-bt", "/bin/true"))
    assert analyze("verify", str(unit)).strip() == ""
    unit.write_text(unit.read_text() + "\n[Service]\nMemmoryMax=1\n")
    assert "MemmoryMax" in analyze("verify", str(unit))


def test_the_unit_exposes_little(analyze):
    told = analyze("security", "--offline=true", "--no-pager", str(UNIT))
    found = re.search(r"Overall exposure level.*: ([\d.]+) ", told)
    assert found and float(found[1]) <= MOST_EXPOSED, told


@pytest.mark.kernel
def test_it_traces_with_the_units_capabilities_and_tells_systemd(kernel, tmp_path):
    """setpriv takes away what the unit does; the socket is systemd's."""
    names = re.search(r"^CapabilityBoundingSet=(.*)$", UNIT.read_text(), re.MULTILINE)[1].split()
    kept = ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in names)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(tmp_path / "notify"))
        told.settimeout(60)
        words = ["setpriv", f"--bounding-set=-all,{kept}", "--no-new-privs", sys.executable]
        place = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        with begun([*words, "-m", "mmaplock_bt", "agent"], os.environ | place) as agent:
            assert told.recv(4096).decode().startswith("READY=1\nSTATUS=tracing; http://")
            assert told.recv(4096) == told.recv(4096) == b"WATCHDOG=1"
            subprocess.run(workload.command("stalled", 300), capture_output=True, check=True)
            agent.await_value("mmaplock_blamed_wait_seconds_total", 0.1, culprit="smaps-reader")
        said = [told.recv(4096)]
        while said[-1] != b"STOPPING=1":
            said.append(told.recv(4096))
