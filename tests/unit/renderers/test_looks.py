"""What a look at sleeping threads says."""

from dataclasses import replace

from mmaplock_bt.renderers.looks import looks
from mmaplock_bt.result.saved import from_json, to_json
from mmaplock_bt.stream.records import Sleeper, Sleepers
from tests.builders import HOSTILE, analysed

WAITS = Sleeper(11, 10, "app", "waits", ["vm_mmap_pgoff+233", "do_syscall_64+113"])
HOLDS = Sleeper(10, 10, HOSTILE, "may hold", ["fuse_flush+1", "remove_vma+2", "__vm_munmap+3"])


def looked(*sleepers, cut=False):
    return analysed({"kind": "counter"}, Sleepers(sleepers, cut).line())


def test_who_waits_and_who_may_hold_is_told_as_what_it_is():
    result = looked(WAITS, HOLDS)
    assert from_json(to_json(result)) == result
    head, *lines = looks(result)
    assert "no measurement" in head
    assert lines[0] == "  app[10] thread 11 waits for mmap_lock: mmap"
    assert "may hold mmap_lock: munmap" in lines[2] and "\n" not in "".join(lines)
    assert lines[3] == "      fuse_flush < remove_vma < __vm_munmap"


def test_where_no_holder_is_seen_it_says_so():
    assert "Nobody was seen" in looks(looked(WAITS))[-1]
    assert looks(looked()) == [] == looks(replace(looked(), looks=[]))


def test_that_it_was_cut_off_is_told():
    (said,) = looked(WAITS, cut=True).messages
    assert "there may be more" in said
    assert not looked(cut=True).messages
