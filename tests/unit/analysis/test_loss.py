"""What the script printed, against what came: no release of bpftrace is taken at its word."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmaplock_bt.analysis import analyse
from mmaplock_bt.result.loss import left_out, missing
from mmaplock_bt.result.saved import from_json, to_json
from mmaplock_bt.stream.records import Dropped, Trailer
from tests.builders import declared, head, map_line, printed, shown_as_table, stack_text

HOLDS = {"kind": "events", "unit": "ns", "fields": ["time_ns", "hold_ns", "mode"]}
TABLE = {"kind": "table", "unit": "ns", "keys": ["mode"], "of": "holds", "value": "hold_ns"}
EVENT = printed("holds|11|7|0")
LOST = '{"type": "lost_events", "data": {"events": %d}}'


def counted(**counts: int) -> list[str]:
    return [map_line(f"printed_{name}", {"": count}) for name, count in counts.items()]


def result_of(*lines: str, closes: bool = True):
    outputs = declared(holds=HOLDS, t=TABLE)
    close = [printed("close|99")] if closes else []
    stream = [head(outputs).line(), printed("open|5"), *lines, *close]
    return analyse.analyse_lines([*stream, Trailer("duration", 94).line()])


def test_what_was_printed_and_did_not_come_is_lost():
    """As with 0.27.1, which says nothing."""
    result = result_of(*[EVENT] * 3, *counted(open=1, close=1, holds=10))
    assert result.loss.lost_events == 7 and result.loss.lost_lines == {"holds": 7}
    assert not result.loss.complete
    assert missing(result).startswith("lost events 7 (holds 7); a higher threshold")
    assert left_out(result.outputs["holds"]) == left_out(result.outputs["t"]) == "7 holds were lost"
    assert "INCOMPLETE: lost events 7 (holds 7)" in shown_as_table(result)
    assert from_json(to_json(result)) == result


def test_what_all_came_is_complete():
    result = result_of(*[EVENT] * 3, *counted(open=1, close=1, holds=3, whose=0))
    assert result.loss.lost_events == 0 and result.loss.lost_lines == {}
    assert result.loss.complete == (result.loss.probes_attached == result.loss.probes_expected)


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_nothing_is_counted_twice(came, lost, said, dropped):
    """bpftrace says of the same lines that it lost them; what it says itself is lost as well."""
    lines = [EVENT] * came + [LOST % said] * (said > 0) + [Dropped(dropped).line()]
    found = result_of(*lines, *counted(open=1, close=1, holds=came + lost)).loss
    assert found.lost_events == max(lost, said + dropped)
    assert found.dropped_lines == dropped
    assert found.complete is False or not (lost or said or dropped)
    untold = result_of(*lines).loss
    assert untold.lost_lines is None and untold.lost_events == said + dropped


def test_a_line_that_says_who_is_who_may_be_lost_too():
    lines = counted(open=1, close=1, holds=1, name=2, whose=1)
    result = result_of(EVENT, printed("name|7|0|\\x61"), *lines)
    assert result.loss.lost_lines == {"name": 1, "whose": 1}
    assert "lost events 2;" not in missing(result) and "lost events 2" in missing(result)
    both = result_of(*lines)
    assert "lost events 4 (holds 1, others 3)" in missing(both)


@pytest.mark.parametrize("has_counts", [True, False])
def test_the_windows_end_may_be_lost_and_is_in_a_map(has_counts):
    lines = [*counted(open=1, close=1, holds=1), map_line("closed", {"": 99})] * has_counts
    result = result_of(EVENT, *lines, closes=False)
    assert result.loss.unseen != has_counts
    assert (result.loss.lost_lines == {"close": 1}) == has_counts
    assert result.window.duration_ns == 94 and not result.loss.complete


@pytest.mark.parametrize(
    ("retcode", "lost", "full"),
    [(-7, 0, 1), (-17, 1, 0), (-110, 0, 1)],
)
def test_a_count_that_another_cpu_was_before_is_lost_and_no_full_map(retcode, lost, full):
    """0.23 makes a key with BPF_NOEXIST: 'give the profile more map_keys' would be of no use."""
    said = {"type": "helper_error", "msg": "File exists", "helper": "map_update_elem"}
    result = result_of(json.dumps(said | {"retcode": retcode, "line": 2, "col": 71}))
    assert (result.loss.lost_events, result.loss.map_full) == (lost, full)
    assert not result.loss.complete
    assert ("more map_keys" in missing(result)) == bool(full)
    assert any("two CPUs met its key" in text for text in result.messages) == bool(lost)


def test_reports_of_full_maps_that_were_left_out_are_counted():
    result = result_of(Dropped(0, 5, 2).line())
    assert (result.loss.map_full, result.loss.stack_errors) == (5, 2)


@pytest.mark.parametrize(("said", "told"), [(0, 2), (5, 5)])
def test_kernel_stacks_that_did_not_come_are_counted(said, told):
    """bpftrace's word counts user stacks, too; where it says nothing, events tell."""
    outputs = declared(holds=HOLDS | {"fields": [*HOLDS["fields"], "kernel_stack"]})
    stacks = (["f+1"], [], ["madvise(MADV_FREE)"], ["madvise(MADV_FREE)", "g+1"], ["h+1"])
    events = [printed(f"holds|11|7|0|{stack_text(stack)}") for stack in stacks]
    for params, errors in (({}, told), ({"kernel_stack": 16}, told), ({"kernel_stack": 0}, said)):
        first = head(outputs)
        profile = replace(first.profile, params=params)
        lines = [replace(first, profile=profile).line(), printed("open|5"), *events,
                 Dropped(0, 0, said).line()]  # fmt: skip
        assert analyse.analyse_lines(lines).loss.stack_errors == errors
