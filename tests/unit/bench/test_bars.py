"""The limits."""

import pytest

from bench.bars import verdicts
from bench.contenders import BASE, EMPTY, contenders
from bench.figures import Figure, figures
from bench.scenarios import MAIN
from mmaplock_bt import resources
from tests.unit.bench.records import record, turn, usual


def figure(what, by="0.17", added_ns=None, ratio=None):
    return Figure(what, by, MAIN, added_ns=added_ns, ratio=ratio)


@pytest.mark.parametrize(
    ("what", "by", "ratio", "is_met"),
    [
        ("mmaplock-bt hold-times", "0.17", 1.9, True),
        ("mmaplock-bt hold-times", "0.23", 1.9, False),
        ("mmaplock-bt hold-times", "0.23", None, None),
        ("mmaplock-bt blame", "0.27", 0.36, False),
        ("mmaplock-bt, armed trap", "0.27", 0.35, True),
        ("mmaplock-bt long-holds --sample 1/16", "0.17", 0.96, False),
    ],
)
def test_against_the_c_peer(what, by, ratio, is_met):
    (told,) = verdicts([figure(what, by, 100.0, ratio)])
    assert (told.against, told.found, told.is_met) == (BASE, ratio, is_met)


def test_what_a_filter_leaves_out_is_compared_with_empty_probes_of_the_same_bpftrace():
    told = verdicts([
        figure(EMPTY, "0.17", 300.0), figure(EMPTY, "0.27", 100.0),
        figure("mmaplock-bt hold-times -p another's", "0.17", 300.0, 9.0),
        figure("mmaplock-bt hold-times -p another's", "0.27", 300.0, 9.0),
        figure("mmaplock-bt hold-times --comm nobody", "0.23", 300.0, 9.0),
    ])  # fmt: skip
    assert [(one.found, one.is_met) for one in told] == [(1.0, True), (3.0, False), (None, None)]


def test_without_a_c_peer_nothing_is_judged():
    (told,) = verdicts(figures(record(turn("mmaplock-bt blame", 1, 9.0))))
    assert told.is_met is None


def test_others_have_no_limit():
    assert [one.what for one in verdicts(figures(usual()))] == ["mmaplock-bt blame"]
    assert verdicts([]) == []


def test_every_limit_is_met_by_a_contender_of_that_name():
    """A limit whose name no contender has would be kept for ever."""
    every = contenders(resources.shipped_names("profiles", ".yaml"), ["0.17"])
    judged = verdicts([figure(one.what, one.by) for one in every])
    assert len(judged) == 1 + 3 + 5 + 6
