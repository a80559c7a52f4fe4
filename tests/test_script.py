"""What is rendered, as whole programs: a change in a template is seen in review."""

from dataclasses import replace

import pytest
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from mmaplock_bt.machine.inventory import Target
from mmaplock_bt.script import render
from mmaplock_bt.spec import profile

FACTS: dict[str, bool | str] = {
    "memcg_field": "memcg_id",
    "memory_controller": "4",
    "rwsem_owner": True,
}
FIXED = Target("6.18.0", "x86_64", 2, "0.17.0", "bpftrace", FACTS)
RAW = replace(
    FIXED, bpftrace="0.27.1", facts={**FACTS, "raw_tracepoint": True, "config_block": True}
)


class BpftraceSnapshot(SingleFileSnapshotExtension):
    file_extension = "bt"
    _write_mode = WriteMode.TEXT


@pytest.mark.parametrize(
    ("machine", "tree"), [(FIXED, False), (FIXED, True), (RAW, False)], ids=["all", "tree", "raw"]
)
@pytest.mark.parametrize("name", profile.names())
def test_rendered_script(name, machine, tree, snapshot, monkeypatch):
    monkeypatch.setattr(render, "__version__", "VERSION")
    rendered = render.render(profile.load(name), machine, tree=tree).text
    assert rendered == snapshot(extension_class=BpftraceSnapshot)


def test_no_raw_tracepoints_where_their_programs_are_preempted():
    """On Linux 7.2 the books were 7 events short of 200."""
    chosen = profile.load("hold-times")
    srcu = replace(RAW, facts={**RAW.facts, "tracepoint_srcu": True})
    assert render.render(chosen, RAW).is_raw and not render.render(chosen, srcu).is_raw
