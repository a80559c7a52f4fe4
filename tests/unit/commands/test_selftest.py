"""The self-test's cases, and what an engine does not serve of them."""

import json
from dataclasses import replace

import pytest

from mmaplock_bt import command_line, resources
from mmaplock_bt.commands import engines, selftest
from mmaplock_bt.errors import TargetError
from mmaplock_bt.machine import inventory
from mmaplock_bt.result.loss import RACED
from tests import story

UNSERVED = {"fault-path", "stuck-locks", "writer-starvation"}
SHIPPED = set(resources.shipped_names("profiles", ".yaml"))


def test_every_shipped_profile_has_a_case_in_the_self_test():
    """The matrices of bpftraces and kernels run what the self-test runs."""
    assert sorted(case.profile for case in selftest.cases()) == sorted(SHIPPED)


@pytest.fixture
def here(monkeypatch):
    """A machine with both engines, where these profiles' cases fail."""

    def make(failing=()):
        def verdict(case, _machine, told):
            return {"profile": case.profile, "pass": case.profile not in failing}

        offline = inventory.offline()
        tracefs = replace(offline, bpftrace="none", facts={"engine": "tracefs"})
        monkeypatch.setattr(selftest, "_verdict", verdict)
        monkeypatch.setattr(inventory, "probe", lambda _: replace(offline, bpftrace="0.23.2"))
        monkeypatch.setattr(engines, "by_tracefs", lambda _: tracefs)

    return make


def outcome(*words):
    return selftest.main(command_line.parse(["selftest", *words]))


def test_what_tracefs_does_not_serve_is_a_line_each_and_no_failure(here, capsys):
    here()
    assert outcome("--engine", "tracefs") == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[1] for line in lines} == UNSERVED
    assert all(line.startswith("skip  ") and "cannot tell" in line for line in lines)


@pytest.mark.parametrize(
    ("words", "told", "unserved"),
    [((), ("bpftrace", "0.23.2"), set()), (("--engine", "tracefs"), ("tracefs", "none"), UNSERVED)],
)
def test_for_programs_it_says_which_engine_and_what_that_does_not_serve(
    here, capsys, words, told, unserved
):
    here()
    assert outcome("--json", *words) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["engine"], found["bpftrace"]) == told
    assert set(found["unserved"]) == unserved
    assert {case["profile"] for case in found["cases"]} == SHIPPED - unserved


def a_run(flavour):
    if flavour == "raced":
        result = story.result_of("convoys")
        loss = replace(result.loss, lost_events=1, complete=False)
        return replace(result, messages=[RACED], loss=loss)
    return story.result_of("convoys", flavour)


CONVOYS = next(case for case in selftest.cases() if case.profile == "convoys")


@pytest.mark.parametrize(
    ("flavours", "right", "run"),
    [
        (["full"], True, 1),
        (["empty", "full"], True, 2),  # 0 convoys of 353 waits, once: all threads had one CPU
        (["empty", "empty", "empty"], False, 3),
        (["lossy"], False, 1),
        (["raced", "full"], True, 2),
        (["raced", "raced", "raced", "full"], False, 3),
    ],
)
def test_a_convoy_that_did_not_form_is_waited_for_but_no_loss_excused(flavours, right, run):
    runs = iter(flavours)
    found = selftest.outcome(CONVOYS, lambda: a_run(next(runs)))
    assert (found.right, found.run) == (right, run)
    assert list(runs) == flavours[run:]


def test_a_case_that_fails_is_exit_1_by_either_engine(here):
    here(failing=("blame",))
    assert outcome() == outcome("--engine", "tracefs") == 1


def test_where_tracefs_cannot_be_written_nothing_is_tested(here, monkeypatch):
    here()

    def refused(_why):
        raise TargetError("tracefs is not mounted", "mount it")

    monkeypatch.setattr(engines, "by_tracefs", refused)
    with pytest.raises(TargetError, match="not mounted"):
        outcome("--engine", "tracefs")
