"""Every export gives its own reader the sums of the result."""

import json
import re

import jsonschema
import pytest

from mmaplock_bt import renderers
from mmaplock_bt.judging.series import Series
from tests import story
from tests.unit.renderers.test_exports import told
from tools import readers

RUN = story.result_of("blame")
HOLDS, HELD_NS, VICTIM_NS = told(RUN)


def exported(name: str, flavour: str = "full"):
    run = RUN if flavour == "full" else story.result_of("blame", flavour)
    return renderers.rendered(Series((run,)), name)


def test_pprof_adds_up(pprof):
    raw = pprof(exported("pprof"), "-raw")
    assert "holds/count hold/nanoseconds victim/nanoseconds[dflt]" in raw
    samples = re.findall(r"^ +(\d+) +(\d+) +(\d+): ", raw, re.MULTILINE)
    sums = [sum(map(int, values)) for values in zip(*samples, strict=True)]
    assert sums == [HOLDS, HELD_NS, VICTIM_NS]
    assert "actor:[agent]" in raw and "cause:[smaps/maps/numa_maps]" in raw


def test_pprof_finds_who_is_to_blame(pprof):
    focused = pprof(exported("pprof"), "-top", "-unit=ms", "-tagfocus=actor=agent", "-cum")
    assert "140ms" in focused


@pytest.mark.parametrize("flavour", story.FLAVOURS)
def test_pprof_reads_any(pprof, flavour):
    assert "holds/count" in pprof(exported("pprof", flavour), "-raw")


def test_perfetto_adds_up(trace_processor):
    trace = exported("perfetto")
    ended = "select sum(dur), count(*) from slice where name like '% hold %' and dur >= 0"
    ((held_ns, count),) = trace_processor(trace, ended)
    opened = "select count(*) from slice where name like '% hold %' and dur < 0"
    ((still,),) = trace_processor(trace, opened)
    rows = [row for row in RUN.events("still_open") if row["state"] != "wait"]
    assert (held_ns + sum(row["age_ns"] for row in rows), count + still) == (HELD_NS, HOLDS)
    assert still == len(rows)
    faults = "select name, value from stats where severity in ('error', 'data_loss') and value > 0"
    assert trace_processor(trace, faults) == []


def test_perfetto_leads_from_the_hold_to_the_waits(trace_processor):
    pairs = trace_processor(
        exported("perfetto"),
        "select h.name, w.name from flow join slice h on h.id = slice_out "
        "join slice w on w.id = slice_in",
    )
    assert ("read hold agent[20]", "write wait victim[11]") in pairs


@pytest.mark.parametrize("flavour", story.FLAVOURS)
def test_perfetto_reads_any(trace_processor, flavour):
    ((count,),) = trace_processor(exported("perfetto", flavour), "select count(*) from slice")
    assert count >= 1


@pytest.mark.parametrize("flavour", story.FLAVOURS)
def test_speedscope_takes_it(flavour):
    if (app := readers.speedscope()) is None:
        pytest.skip("speedscope is not installed: make readers-tools")
    schema = json.loads((app / "file-format-schema.json").read_text())
    jsonschema.validate(json.loads(exported("speedscope", flavour)), schema)
