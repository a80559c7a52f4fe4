"""Which engine is taken, and how that is said."""

import argparse
from dataclasses import replace

import pytest

from mmaplock_bt.commands import doctor, engines
from mmaplock_bt.commands.doctor import Check
from mmaplock_bt.errors import RefusedError, TargetError
from mmaplock_bt.machine import features, inventory
from mmaplock_bt.spec import profile
from mmaplock_bt.tracefs import instance

BPFTRACE = replace(inventory.offline(), bpftrace="0.23.2", path="/usr/bin/bpftrace")
TRACEFS = replace(inventory.offline(), bpftrace="none", facts={"engine": "tracefs"})
NOT_THERE = TargetError("bpftrace is not installed", "apt-get install bpftrace")


def asked(engine="auto", given=(), live=False):
    return argparse.Namespace(
        engine=engine, bpftrace="bpftrace", given=frozenset(given), live=live, sudo=False
    )


@pytest.fixture
def here(monkeypatch):
    """A machine with or without bpftrace, and with or without tracefs that can be written."""

    def make(bpftrace=NOT_THERE, tracefs=TRACEFS, works=True):
        def probe(_path):
            if isinstance(bpftrace, TargetError):
                raise bpftrace
            return bpftrace

        def by_tracefs(why):
            if isinstance(tracefs, TargetError):
                raise tracefs
            return replace(tracefs, facts=tracefs.facts | {"engine_because": why})

        monkeypatch.setattr(inventory, "probe", probe)
        monkeypatch.setattr(inventory, "by_tracefs", by_tracefs)
        monkeypatch.setattr(inventory, "tracefs", lambda: None)
        monkeypatch.setattr(instance, "check", lambda _: None)
        monkeypatch.setattr(features, "outcomes", lambda _path, fresh: {"mm_owner": works})

    return make


def taken(arguments, name="long-holds"):
    return engines.machine(arguments, profile.load(name))


def test_bpftrace_where_it_works(here):
    here(BPFTRACE)
    assert taken(asked()) is taken(asked("bpftrace")) is BPFTRACE
    assert taken(asked("tracefs")).facts["engine_because"] == "it was asked for"


def test_tracefs_where_there_is_no_bpftrace_which_is_said(here, capsys):
    here()
    assert taken(asked()).facts["engine_because"] == "bpftrace is not installed"
    assert "engine: tracefs, because bpftrace is not installed" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [asked("bpftrace"), asked(given=["bpftrace"])])
def test_who_names_a_bpftrace_means_it(here, arguments):
    here()
    with pytest.raises(TargetError, match="not installed"):
        taken(arguments)


def test_what_tracefs_cannot_do_either_names_both_and_mends_bpftrace(here):
    here()
    with pytest.raises(TargetError, match="not installed, and writer-starvation asks") as error:
        taken(asked(), "writer-starvation")
    assert error.value.mend == "apt-get install bpftrace"
    with pytest.raises(TargetError, match="not installed, and --live reads bpftrace's maps"):
        taken(asked(live=True))


def test_where_neither_works_bpftrace_is_what_is_missing(here):
    here(tracefs=TargetError("tracefs is not mounted", "mount it"))
    with pytest.raises(TargetError, match="bpftrace is not installed: apt-get"):
        taken(asked())
    with pytest.raises(TargetError, match="not mounted"):
        taken(asked("tracefs"))


@pytest.mark.parametrize(("works", "engine"), [(False, "tracefs"), (True, None)])
def test_a_refusal_is_bpf_s_only_where_nothing_works_any_more(here, works, engine):
    here(BPFTRACE, works=works)
    refused = RefusedError("bpftrace 0.23.2 refused the script (exit 255): not permitted")
    found = engines.after(asked(), profile.load("long-holds"), BPFTRACE, refused)
    assert (found and found.facts["engine"]) == engine


def test_doctor_says_which_and_that_nothing_is_missing_then(here):
    here()
    missing = Check("bpftrace", "missing", "bpftrace is not installed", "nothing can be traced")
    found = doctor._with_engine([missing], may_do_without=True)
    assert [(one.name, one.state) for one in found] == [("bpftrace", "limited"), ("engine", "ok")]
    assert found[-1].found == "tracefs, because bpftrace is not installed"
    assert doctor._with_engine([missing], may_do_without=False) == [missing]
    here(tracefs=TargetError("tracefs is not mounted", "mount it"))
    assert doctor._with_engine([missing], may_do_without=True) == [missing]
    ok = Check("bpftrace", "ok", "/usr/bin/bpftrace")
    assert doctor._with_engine([ok], may_do_without=True)[-1] == Check("engine", "ok", "bpftrace")
