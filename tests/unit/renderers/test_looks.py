"""What a look at sleeping threads says."""

from dataclasses import replace

from mmaplock_bt.analysis import findings
from mmaplock_bt.renderers.looks import looks
from mmaplock_bt.result.saved import from_json, to_json
from mmaplock_bt.spec import profile
from mmaplock_bt.stream.records import Sleeper, Sleepers
from tests import story
from tests.builders import HOSTILE, analysed, shown_as_table

WAITS = Sleeper(11, 10, "app", "waits", ["vm_mmap_pgoff+233", "do_syscall_64+113"])
HOLDS = Sleeper(10, 10, HOSTILE, "may hold", ["fuse_flush+1", "remove_vma+2", "__vm_munmap+3"])


def looked(*sleepers, cut=False):
    return analysed({"kind": "counter"}, Sleepers(sleepers, cut).line())


def test_who_waits_and_who_may_hold_is_told_as_what_it_is():
    result = looked(WAITS, HOLDS)
    assert from_json(to_json(result)) == result
    head, *lines = looks(result)
    assert "no measurement" in head
    assert "may hold mmap_lock: munmap" in lines[0] and "\n" not in "".join(lines)
    assert lines[1] == "      fuse_flush < remove_vma < __vm_munmap"
    assert lines[2] == "  app[10] thread 11 waits for mmap_lock: mmap"


def test_where_no_holder_is_seen_it_says_so():
    assert "Nobody was seen" in looks(looked(WAITS))[-1]
    assert looks(looked()) == [] == looks(replace(looked(), looks=[]))


def test_that_it_was_cut_off_is_told():
    (said,) = looked(WAITS, cut=True).messages
    assert "there may be more" in said
    assert not looked(cut=True).messages


def test_the_terminal_shows_it_and_nobody_says_that_all_is_calm():
    result = replace(story.result_of("overview", "empty"), looks=looked(WAITS, HOLDS).looks)
    rules = profile.load("overview").template.declaration
    assert [one.harm for one in findings.find(result, rules.findings, rules.calm)] == []
    calm = replace(result, looks=[])
    assert [one.harm for one in findings.find(calm, rules.findings, rules.calm)] == ["calm"]
    assert "app[10] thread 11 waits for mmap_lock: mmap" in shown_as_table(result)
