"""What kept a hold, of several looks at its holder: a stream of one hold."""

import pytest

from mmaplock_bt.analysis.analyse import analyse_lines
from mmaplock_bt.result.keeping import kept_by
from mmaplock_bt.stream.records import Faulting, Look, Span, Trailer
from tests.builders import HOSTILE, declared, head, printed, stack_text

FIELDS = ["time_ns", "hold_ns", "mode", "cause", "reason", "tid", "mm", "kernel_stack",
          "current_stack", "faulting_tid", "faulting_comm", "faulting_stack"]  # fmt: skip
OUTPUTS = {
    "holds": {"kind": "events", "unit": "ns", "fields": FIELDS},
    "open": {"kind": "events", "unit": "ns", "fields": ["age_ns", *FIELDS[2:]],
             "open": {"older": "1ms"}},
}  # fmt: skip
SPAN = Span("hold", 7, "0x00000000000000ab", "write", 100)
MAPS, WAITS = ["vma_merge+1", "mmap_region+2"], ["__vma_start_write+1", "mprotect_fixup+2"]
FAULT = Faulting(9, "redis", ["folio_zero_user+1", "handle_mm_fault+2"])


def look(at, stack, fault=None):
    return Look(at, False, (SPAN,), {"7": stack}, {"7": fault} if fault else {}).line()


def rows(*looks, ended=True):
    hold = printed(f"holds|900|800|1|7|ab|{stack_text(['do_mprotect_pkey+5'])}")
    lines = [*looks, *([hold] if ended else []), Trailer("duration", 1000).line()]
    result = analyse_lines([head(declared(**OUTPUTS)).line(), printed("open|0"), *lines])
    return result.outputs["holds"].rows if ended else result.outputs["open"].rows


@pytest.mark.parametrize("ended", [True, False], ids=["ended", "open"])
def test_who_was_in_the_fault_is_told_whichever_look_saw_it(ended):
    looks = look(200, MAPS), look(300, WAITS), look(400, WAITS, FAULT), look(500, WAITS)
    (row,) = rows(*looks, ended=ended)
    assert (row["cause"], row["reason"]) == ("mprotect", "page faults under way")
    assert (row["faulting_tid"], row["faulting_comm"]) == (9, "redis")
    assert row["faulting_stack"] == FAULT.kernel_stack
    assert kept_by(row) == "page faults under way (redis, thread 9)"


def test_nobody_is_named_where_no_look_saw_a_fault():
    (row,) = rows(look(200, WAITS))
    assert (row["reason"], row["faulting_tid"]) == ("page faults under way", None)
    assert kept_by(row) == "page faults under way"


def test_a_look_at_another_hold_tells_nothing():
    (row,) = rows(look(950, WAITS, FAULT))
    assert (row["reason"], row["faulting_tid"]) == (None, None) and kept_by(row) == ""


def test_what_no_longer_waits_for_a_fault_is_not_kept_by_one():
    (row,) = rows(look(200, WAITS, FAULT), look(300, MAPS), ended=False)
    assert (row["reason"], row["faulting_tid"]) == (None, None)


def test_a_hostile_name_is_harmless():
    told = kept_by({"reason": HOSTILE, "faulting_tid": 9, "faulting_comm": HOSTILE})
    assert "\x1b" not in told and "\n" not in told
