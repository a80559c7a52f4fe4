"""The table of versions: what a self-test came to, as a row, and as its cell."""

import json
import sys
from importlib import import_module

import pytest

from tests.shell import ROOT

sys.path.append(str(ROOT / "tools"))
compatibility = import_module("compatibility")


def told(*cases):
    keys = ("profile", "pass", "loss")
    more = {"found": "", "books": {}, "bpftrace_error": None}
    return json.dumps({
        "engine": "tracefs", "cases": [dict(zip(keys, case, strict=True)) | more for case in cases],
    })  # fmt: skip


def test_a_case_that_lost_events_and_said_so_has_not_counted_wrong():
    lost, none = {"lost_events": 7}, {"lost_events": 0}
    out = told(("hold-times", True, none), ("blame", False, lost), ("convoys", False, none))
    found = compatibility.passed(1, out, "")
    assert found == {"hold-times": True, "blame": None, "convoys": False}
    assert not compatibility.is_right(found)
    assert compatibility.is_right({"hold-times": True, "blame": None})
    assert not compatibility.is_right({"blame": None})
    said = "1 of 3 pass, **convoys failed**, blame lost events"
    assert compatibility._summary(found) == said


def test_a_machine_that_cannot_trace_has_no_profiles_and_another_end_is_broken(capsys):
    assert compatibility.passed(3, "", "mmaplock-bt: tracefs is not mounted") == {}
    assert "exit 3: mmaplock-bt: tracefs is not mounted" in capsys.readouterr().out
    with pytest.raises(compatibility.BrokenError, match="no memory"):
        compatibility.passed(70, "", "no memory")


def test_the_kernel_s_row_has_a_cell_for_tracefs_and_an_older_one_is_valid():
    place = ("0.23.2", "6.12.117", "trixie, emulated")
    row = compatibility.row_of(*place, profiles={"blame": True}, tracefs={"blame": True})
    assert compatibility._cells(row)[2:] == ("1 of 1 pass", "", "1 of 1 pass")
    refused = compatibility.row_of(*place, refusal="no BPF", tracefs={"blame": True})
    assert compatibility._cells(refused)[2:] == ("exit 3: no BPF", "", "1 of 1 pass")
    del row["tracefs"]
    assert compatibility._cells(row)[2:] == ("1 of 1 pass", "", "")


def test_the_readme_shows_what_is_recorded():
    assert compatibility.table() in (ROOT / "README.md").read_text()
