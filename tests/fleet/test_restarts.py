"""What Prometheus makes of counters over a bpftrace that is killed."""

import os
import signal
import subprocess

import pytest

from mmaplock_bt import workload
from tests.fleet.test_prometheus import prometheus, until
from tests.kernel.agents import running
from tests.kernel.processes import bpftrace_of

pytestmark = pytest.mark.kernel
BLAMED = 'mmaplock_blamed_wait_seconds_total{culprit="smaps-reader"}'
COUNTERS = ("_total", "_count", "_sum", "_bucket")
NAME = "mmaplock_blamed_wait_seconds_total"
WHO = {"culprit": "smaps-reader"}


def _stall() -> None:
    subprocess.run(workload.command("stalled", 300), capture_output=True, check=True)


def test_no_counter_falls_and_rate_does_not_jump(kernel, tmp_path):
    with running() as agent, prometheus(tmp_path, agent.url.removeprefix("http://")) as server:
        _stall()
        until(lambda: server.result(f"{BLAMED} > 0.1"))
        before = agent.settled(NAME, **WHO)
        os.kill(bpftrace_of(agent.process), signal.SIGKILL)
        until(lambda: server.result("mmaplock_up == 0"))
        until(lambda: server.result("mmaplock_up == 1 and mmaplock_restarts_total == 1"))
        _stall()
        agent.await_value(
            "mmaplock_blamed_wait_seconds_total", before + 0.1, culprit="smaps-reader"
        )
        whole = agent.settled("mmaplock_blamed_wait_seconds_total", culprit="smaps-reader")
        until(lambda: server.result(f"abs({BLAMED} - {whole}) < 0.001"))
        counters = {name for name, _ in agent.samples() if name.endswith(COUNTERS)}
        assert len(counters) > 10
        assert not [name for name in counters if server.result(f"resets({name}[5m]) > 0")]
        (grown,) = server.result(f"max_over_time({BLAMED}[5m]) - min_over_time({BLAMED}[5m])")
        assert 0.1 <= float(grown["value"][1]) <= whole
        (fastest,) = server.result(f"max_over_time(rate({BLAMED}[5s])[5m:1s])")
        assert float(fastest["value"][1]) < 1, (
            "one thread cannot wait for longer than a second in one"
        )
