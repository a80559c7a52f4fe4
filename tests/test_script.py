"""What is rendered, as whole programs: a change in a template is seen in review."""

import pytest
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from mmaplock_bt import profile, script
from mmaplock_bt.target import Target

FIXED = Target("6.18.0", "x86_64", 2, "0.17.0", "bpftrace", {"memcg_field": "memcg_id"})


class BpftraceSnapshot(SingleFileSnapshotExtension):
    file_extension = "bt"
    _write_mode = WriteMode.TEXT


@pytest.mark.parametrize("tree", [False, True], ids=["all", "tree"])
@pytest.mark.parametrize("name", profile.names())
def test_rendered_script(name, tree, snapshot, monkeypatch):
    monkeypatch.setattr(script, "__version__", "VERSION")
    rendered = script.render(profile.load(name), FIXED, tree=tree).text
    assert rendered == snapshot(extension_class=BpftraceSnapshot)
