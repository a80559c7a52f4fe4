"""How long the machine was short of CPU: read, kept in the result, told where it matters."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mmaplock_bt.analysis import analyse
from mmaplock_bt.machine import cpu_pressure
from mmaplock_bt.stream import collect
from tests.conftest import shown_as_table
from tests.test_analysis import made

TEXT = "some avg10=2.10 avg60=3.14 avg300=2.15 total=473098490\nfull avg10=0.00 total=7\n"


def test_the_kernels_microseconds_are_ns(tmp_path):
    file = tmp_path / "cpu"
    assert cpu_pressure.waited_ns(file) is None, "no PSI in this kernel"
    file.write_text(TEXT)
    assert cpu_pressure.waited_ns(file) == 473_098_490_000
    file.write_text("")
    assert cpu_pressure.waited_ns(file) is None
    assert cpu_pressure.since(None) is None


@pytest.mark.parametrize(("share", "told"), [(None, False), (0.09, False), (0.11, True)])
def test_it_is_told_where_it_matters(share, told):
    result = made({})
    wait_ns = None if share is None else int(share * 10**9)
    window = replace(result.window, duration_ns=10**9, cpu_wait_ns=wait_ns)
    text = shown_as_table(replace(result, window=window))
    assert ("for 11 % of the window some task waited" in text) == told


def test_old_streams_have_none():
    line = collect.trailer("duration", 1, None)
    assert '"cpu_wait_ns": null' in line
    path = min((Path(__file__).parent / "data").glob("*munmaps.ndjson"))
    result = analyse.analyse(path.read_text().split("\n"))
    assert result.window.cpu_wait_ns is None


@pytest.mark.kernel
def test_a_crowded_machine_waits_for_cpus(traced):
    if cpu_pressure.waited_ns() is None:
        pytest.skip("this kernel does not tell (CONFIG_PSI)")
    spin = "import time; end = time.monotonic() + 1\nwhile time.monotonic() < end: pass"
    hogs = (
        f"for _ in $(seq {2 * (os.cpu_count() or 1)}); do {sys.executable} -c '{spin}' & done; wait"
    )
    result = traced("hold-times", "--", "sh", "-c", hogs)
    assert result.window.cpu_wait_ns > result.window.duration_ns / 4
