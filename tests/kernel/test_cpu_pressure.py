"""How long the machine was short of CPU, on the running kernel."""

import os
import sys

import pytest

from mmaplock_bt.machine import cpu_pressure

pytestmark = pytest.mark.kernel


def test_a_crowded_machine_waits_for_cpus(traced):
    if cpu_pressure.waited_ns() is None:
        pytest.skip("this kernel does not tell (CONFIG_PSI)")
    spin = "import time; end = time.monotonic() + 1\nwhile time.monotonic() < end: pass"
    hogs = (
        f"for _ in $(seq {2 * (os.cpu_count() or 1)}); do {sys.executable} -c '{spin}' & done; wait"
    )
    result = traced("hold-times", "--", "sh", "-c", hogs)
    assert result.window.cpu_wait_ns > result.window.duration_ns / 4
