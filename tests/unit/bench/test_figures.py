"""What rounds come to."""

import pytest

from bench.contenders import BASE
from bench.figures import figures
from bench.record import Row
from tests.unit.bench.records import record, turn, usual


def by_name(found):
    return {one.what: one for one in figures(found)}


def test_added_and_ratio():
    ours = by_name(usual())["mmaplock-bt blame"]
    assert (ours.added_ns, ours.ratio, ours.low, ours.high) == (1200, 3.0, 3.0, 3.0)
    assert by_name(usual())[BASE].ratio == 1.0
    assert by_name(usual())["nothing"].added_ns == 0


def test_a_round_is_compared_with_its_own_c_peer():
    """A round in which all is dearer is so for both."""
    found = record(turn(BASE, 1, 4.0), turn(BASE, 2, 7.0), turn("x", 1, 5.0), turn("x", 2, 11.0))
    assert (by_name(found)["x"].low, by_name(found)["x"].high) == (2.0, 2.0)


def test_quiet_rounds_are_preferred():
    found = record(turn(BASE, 1, 4.0), turn("x", 1, 9.0, "CPU pressure 90%"), turn("x", 2, 5.0))
    assert by_name(found)["x"].ratio == 2.0
    assert by_name(found)["x"].rounds == 1
    assert not by_name(found)["x"].noisy


def test_where_no_round_is_quiet_the_less_restless_half_counts_and_it_is_said():
    ours = (turn("x", number, 4.0 + number, "loud", unrest=1 / number) for number in (1, 2, 3))
    found = by_name(record(turn(BASE, 1, 4.0), *ours))["x"]
    assert (found.low, found.high, found.rounds, found.noisy) == (3.0, 4.0, 2, True)


@pytest.mark.parametrize("peer", [(), (turn(BASE, 1, 2.0),)], ids=["missing", "cheaper than none"])
def test_without_a_c_peer_there_is_no_ratio(peer):
    found = record(*peer, turn("x", 1, 5.0))
    assert by_name(found)["x"].ratio is None
    assert by_name(found)["x"].added_ns == 400


def test_what_refused_has_its_sentence_and_no_figure():
    found = record(turn(BASE, 1, 4.0), BCC="bcc is not installed")
    assert by_name(found)["BCC"].refusal == "bcc is not installed"
    assert by_name(found)["BCC"].added_ns is None


def test_a_row_without_a_turn_or_a_sentence():
    found = record(rows=(Row(name="x", what="x", by=""),))
    assert by_name(found)["x"].refusal == "not measured"


def test_nothing_at_all():
    assert figures(record()) == []
