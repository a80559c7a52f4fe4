"""What is rendered, as whole programs: a change in a template is seen in review."""

from dataclasses import replace

import pytest
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from mmaplock_bt import profile, script
from mmaplock_bt.target import Target

FACTS: dict[str, bool | str] = {"memcg_field": "memcg_id"}
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
    monkeypatch.setattr(script, "__version__", "VERSION")
    rendered = script.render(profile.load(name), machine, tree=tree).text
    assert rendered == snapshot(extension_class=BpftraceSnapshot)
