"""Prometheus' own tools find nothing to complain about in what the agent tells."""

import subprocess

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from mmaplock_bt import workload
from tests.kernel.agents import running

pytestmark = pytest.mark.kernel
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def test_promtool_finds_nothing(kernel, promtool):
    with running() as agent:
        assert promtool("check", "metrics", text=agent.get("/metrics")) == ""
        subprocess.run(workload.command("stalled", 300), capture_output=True, check=True)
        agent.await_value("mmaplock_blamed_wait_seconds_total", 0.1)
        assert promtool("check", "metrics", text=agent.get("/metrics")) == ""
        told = agent.get("/metrics", OPENMETRICS)
    assert "mmaplock_blamed_wait_seconds" in {f.name for f in text_string_to_metric_families(told)}


def test_promtool_would_find_something(promtool):
    assert "no help text" in promtool("check", "metrics", text="mmaplock_waits 1\n")
