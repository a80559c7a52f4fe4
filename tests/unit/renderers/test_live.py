"""A window while it is open, as a line and as a screen."""

from dataclasses import replace

import pytest

from mmaplock_bt.renderers import console
from mmaplock_bt.renderers.live.line import line
from mmaplock_bt.renderers.live.screen import screen
from mmaplock_bt.spec.outputs import OpenSpans
from mmaplock_bt.stream.records import Dropped
from tests import story
from tests.live import Open

S = 10**9


def shown(moment, notes=(), width=99):
    out = console.make(color=False, width=width)
    out.print(screen(moment, notes))
    return console.text(out)


@pytest.mark.parametrize("flavour", story.FLAVOURS)
def test_a_screen(flavour, snapshot):
    assert shown(Open(flavour=flavour).moment(), ["a note"]) == snapshot


@pytest.mark.parametrize("name", story.NAMES)
def test_a_line(name, snapshot):
    assert line(Open(name).moment()) == snapshot


@pytest.mark.parametrize("name", story.NAMES)
def test_names_move_no_cursor_and_forge_no_line(name):
    moment = Open(name, "hostile").moment()
    assert line(moment).isprintable()
    lines = shown(moment, [story.HOSTILE_TEXT]).splitlines()
    assert all(one.isprintable() for one in lines)
    assert not any(one.startswith((story.FORGED, "loss:  none")) for one in lines)


def test_a_rate_is_what_was_counted_since_the_moment_before():
    opened = Open()
    first = opened.moment(open_ns=2 * S)
    reads = next(one for one in first.rates if one.title == "Wait time").per_s["read"]
    counted = {row["key"]["mode"]: row["count"] for row in first.result.histogram("wait")}
    assert reads == counted["read"] / 2
    second = opened.moment(before=first, open_ns=4 * S)
    assert all(not any(one.per_s.values()) for one in second.rates)
    assert "nothing counted" in line(second) and "nothing counted" not in line(first)


def test_of_a_profile_without_counts_by_mode_the_events_are_counted():
    (rate,) = Open("long-holds").moment().rates
    assert rate.title == "Hold time (all holds)"
    bare = Open("long-holds")
    del bare.head.outputs["hold"]
    (rate,) = bare.moment(open_ns=S).rates
    assert rate.title == bare.head.outputs["long_holds"].title
    assert sum(rate.per_s.values()) == len(bare.so_far().result.events("long_holds")) > 0


def test_loss_is_told_first():
    moment = Open().moment(dropped=Dropped(1234, 0, 0))
    assert "INCOMPLETE: lost events 1,234" in line(moment)
    assert "INCOMPLETE: lost events 1,234" in shown(moment).splitlines()[1]


def test_events_that_do_not_come_are_told_before_it_is_known_whether_they_are_lost():
    moment = Open().moment(dropped=Dropped(7, 0, 0), late=1234)
    assert "INCOMPLETE: lost events 7, 1,234 events late or lost" in line(moment)
    assert "1,234 events late or lost" in shown(moment).splitlines()[1]


def test_a_profile_that_looks_for_no_open_span_says_nothing_of_them():
    for name in story.NAMES:
        moment = Open(name).moment()
        looks = any(isinstance(one, OpenSpans) for one in moment.result.declarations.values())
        assert ("open: " in line(moment)) == ("open now" in shown(moment)) == looks


def test_counts_that_cannot_be_read_are_no_zeros():
    moment = Open().moment(unread="not permitted")
    assert "counts are not read: not permitted" in shown(moment)
    assert "counts not read: not permitted" in line(moment)


def test_a_narrow_screen_is_not_overrun():
    assert all(len(one) <= 40 for one in shown(Open().moment(), width=40).splitlines())


def test_what_is_left_of_the_window_is_told():
    assert line(Open().moment(open_ns=3 * S)).startswith("3 s, 4 s left | ")
    endless = Open().moment(open_ns=3 * S)
    endless = replace(endless, standing=replace(endless.standing, left_ns=None))
    assert line(endless).startswith("3 s | ")
