"""How long the machine was short of CPU: read, kept in the result, told where it matters."""

from dataclasses import replace

import pytest

from mmaplock_bt.machine import cpu_pressure
from mmaplock_bt.stream.records import Trailer
from tests.builders import STREAMS, captured, made, shown_as_table

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
    line = Trailer("duration", 1).line()
    assert '"cpu_wait_ns": null' in line
    result = captured(min(path for path in STREAMS if "munmaps" in path.name))
    assert result.window.cpu_wait_ns is None
