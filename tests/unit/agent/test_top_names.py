"""Names as labels: however many there are, few become one."""

from mmaplock_bt.agent import top_names
from mmaplock_bt.agent.top_names import OTHER, TopNames


def test_no_more_than_asked_for():
    names = TopNames(["always"], 3)
    told = {names.label(f"n{turn}", 1) for turn in range(10_000)} | {names.label("always", 0)}
    assert told == {"n0", "n1", "n2", OTHER, "always"}


def test_one_that_weighs_twice_as_much_takes_the_place_of_the_least():
    names = TopNames([], 2)
    names.label("big", 100)
    names.label("small", 10)
    assert names.label("late", 19) == OTHER
    assert names.taken_off() == []
    assert names.label("late", 1) == "late"
    assert names.taken_off() == ["small"]
    assert names.taken_off() == []
    assert names.label("small", 1) == OTHER


def test_none():
    assert TopNames([], 0).label("a", 10**9) == OTHER
    assert TopNames([], 5).label("", 1) == ""


def test_memory_is_bounded_and_those_with_a_place_are_remembered():
    names = TopNames([], 1)
    names.label("first", 5)
    for turn in range(10 * top_names.CANDIDATES):
        names.label(f"n{turn}", 1)
    assert len(names._weights) <= top_names.CANDIDATES
    assert names.label("first", 1) == "first"


def test_other_places_are_followed_and_who_has_none_any_more_has_left():
    names = TopNames(["old", "both"], 2)
    names.label("heavy", 9)
    names.label("light", 3)
    names.follow(["both", "new"], 1)
    assert names.taken_off() == ["light", "old"]
    told = [names.label(name, 0) for name in ("new", "both", "heavy", "light", "old")]
    assert told == ["new", "both", "heavy", OTHER, OTHER]


def test_hostile_names_are_harmless():
    assert TopNames([], 1).label('a"\n\x1b[31m', 1) == 'a"\\n\\x1b[31m'
