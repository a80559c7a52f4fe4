"""What an open window says is what it says once it is closed, as far as that can be known."""

from dataclasses import replace

import pytest

from mmaplock_bt.analysis import analyse
from mmaplock_bt.stream.records import Dropped, Look, Ticked
from tests import story
from tests.live import Open


def _told(result):
    """What findings say but for how sure they are: before the end nothing is."""
    return [replace(one, sure="exact") for one in result.findings or []]


@pytest.mark.parametrize("name", story.NAMES)
def test_a_look_just_before_the_end_finds_what_the_end_does(name):
    opened, whole = Open(name), story.result_of(name)
    found = opened.so_far().result
    assert _told(found) == _told(whole)
    for output, data in whole.outputs.items():
        assert found.outputs[output].rows == data.rows, output


@pytest.mark.parametrize("name", story.NAMES)
def test_looks_change_nothing_of_what_the_end_finds(name):
    opened = Open(name)
    look = Look(story.OPENED + story.MS, True, tuple(story.GONE), {})
    for _ in range(3):
        opened.so_far(
            Dropped(7, 7, 7), look, Ticked(story.OPENED + story.MS, {"hold": [[0, 1, 1]]})
        )
    assert analyse.analyse(opened.head, opened.rest, opened.making) == story.result_of(name)


def test_what_is_open_has_no_books_and_is_not_called_complete():
    """What is on its way would be taken for lost, and moments of maps do not balance."""
    found = Open().so_far().result
    assert not found.books.are_kept and not found.loss.complete
    assert {one.sure for one in found.findings} == {"at least"}
    assert found.loss.lost_events == 0 and found.window.duration_ns == story.WINDOW


def test_what_was_dropped_is_lost_at_once():
    assert Open().so_far(Dropped(7, 5, 3)).result.loss.lost_events == 7


def test_open_spans_are_those_of_the_last_look():
    states = [(row["state"], row["tid"]) for row in Open().so_far().open]
    assert [one for one in states if one[0] == "wait"] == [("wait", 70), ("wait", 73)]
    assert ("wait", 74) not in [(r["state"], r["tid"]) for r in Open("stuck-locks").so_far().open]


def test_of_many_spans_the_longest_are_joined_and_that_is_told(monkeypatch):
    monkeypatch.setattr(analyse, "SO_FAR", 2)
    found = Open("blame").so_far().result
    assert "made of the longest: 2 of" in found.outputs["charges"].lacks
    assert found.findings[0].sure == "at least"
