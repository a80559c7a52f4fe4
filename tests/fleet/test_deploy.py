"""What is deployed with the agent, each file read by the program that it is for."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from mmaplock_bt import command_line
from tests.fleet.conftest import tool

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
ALERTS = DEPLOY / "prometheus/alerts.yaml"
UNIT = DEPLOY / "systemd/mmaplock-bt-agent.service"
# What Grafana fills in.
FILLED = {r"\$__rate_interval": "1m", r"\$__range": "6h", r"\$instance": ".*"}
LABELS = 'instance="a"'


def accepted(name: str, *words: str) -> str:
    """Runs a program that must find nothing wrong; returns what it says."""
    argv = [tool(name), *words]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def alerts() -> dict[str, dict]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def queries() -> Iterator[tuple[str, str]]:
    """Each panel's, with what Grafana fills in."""
    for panel in json.loads((DEPLOY / "grafana/dashboard.json").read_text())["panels"]:
        for target in panel["targets"]:
            text = target["expr"]
            for name, value in FILLED.items():
                text = re.sub(name, value, text)
            yield f"{panel['title']} {target['refId']}", text


def test_promtool_takes_the_alerts():
    assert f"{len(alerts())} rules found" in accepted("promtool", "check", "rules", str(ALERTS))


def test_promtool_takes_every_query_of_the_dashboard(tmp_path):
    rules = [{"record": f"panel:{n}", "expr": text} for n, (_, text) in enumerate(queries())]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(rules)} rules found" in accepted("promtool", "check", "rules", str(file))


@pytest.mark.parametrize(
    ("alert", "series", "at", "labels"),
    [
        ("MmapLockStall", {f"mmaplock_open_hold_seconds_max{{{LABELS}}}": "0 0.31 0"}, "1m", {}),
        (
            "MmapLockLongWaits",
            {
                f'mmaplock_wait_seconds_bucket{{{LABELS},mode="write",le="0.07"}}': "0+1x20",
                f'mmaplock_wait_seconds_bucket{{{LABELS},mode="write",le="0.6"}}': "0+30x20",
                f'mmaplock_wait_seconds_bucket{{{LABELS},mode="write",le="+Inf"}}': "0+30x20",
                f'mmaplock_wait_seconds_count{{{LABELS},mode="write"}}': "0+30x20",
            },
            "12m",
            {"mode": "write"},
        ),
        (
            "MmapLockWaitedFor",
            {
                f'mmaplock_blamed_wait_seconds_total{{{LABELS},cause="smaps",culprit="x",'
                'mode="write"}': "0+6x30",
                f'mmaplock_blamed_wait_seconds_total{{{LABELS},cause="fork",culprit="y",'
                'mode="write"}': "0+4x30",
            },
            "20m",
            {"cause": "smaps", "culprit": "x"},
        ),
        ("MmapLockAgentDown", {f"mmaplock_up{{{LABELS}}}": "1 0x20"}, "13m", {}),
        (
            "MmapLockAgentIncomplete",
            {f"mmaplock_lost_events_total{{{LABELS}}}": "0+1x30"},
            "25m",
            {},
        ),
        ("MmapLockAgentRestarts", {f"mmaplock_restarts_total{{{LABELS}}}": "0+1x70"}, "62m", {}),
    ],
)  # fmt: skip
def test_an_alert_fires_for_what_it_is_about_and_not_before(tmp_path, alert, series, at, labels):
    inputs = [{"series": name, "values": values} for name, values in series.items()]
    rule = alerts()[alert]
    found = {"instance": "a", **rule["labels"], **labels}
    times = {
        "interval": "1m",
        "input_series": inputs,
        "alert_rule_test": [
            {"eval_time": "0m", "alertname": alert, "exp_alerts": []},
            {"eval_time": at, "alertname": alert, "exp_alerts": [{"exp_labels": found}]},
        ],
    }
    del rule["annotations"]  # they would have to be equal, too, and tell the value
    (tmp_path / "rules.yaml").write_text(
        yaml.safe_dump({"groups": [{"name": "one", "rules": [rule]}]})
    )
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": [times]}))
    accepted("promtool", "test", "rules", str(file))


def test_systemd_takes_the_unit_and_finds_it_guarded(tmp_path):
    """With a program that is there: the package's is not, here."""
    file = tmp_path / UNIT.name
    file.write_text(UNIT.read_text().replace("/usr/bin/mmaplock-bt", "/bin/true"))
    said = accepted("systemd-analyze", "verify", "--man=no", str(file))
    assert said == ""
    assert "\nExecReload=/bin/sh -c 'kill -HUP ${MAINPID}'\n" in file.read_text()
    told = accepted("systemd-analyze", "security", "--offline=true", "--threshold=50", str(file))
    assert "Overall exposure level" in told


def test_kubernetes_takes_the_daemonset():
    validate = pytest.importorskip("kubernetes_validate", reason="make fleet-tools")
    manifest = yaml.safe_load((DEPLOY / "kubernetes/daemonset.yaml").read_text())
    validate.validate(manifest, validate.latest_version(), strict=True)


def test_what_they_start_is_a_command_line_of_ours():
    unit = re.search(r"^ExecStart=/usr/bin/mmaplock-bt (.*)$", UNIT.read_text(), re.MULTILINE)
    manifest = yaml.safe_load((DEPLOY / "kubernetes/daemonset.yaml").read_text())
    image = re.search(r"^CMD (\[.*\])$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert unit and image
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    for words in (unit[1].split(), container["args"], json.loads(image[1])):
        assert command_line.parse(words).verb == "agent"
