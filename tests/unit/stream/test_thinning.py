"""What of a flood is left out, and how it is counted."""

import json

import pytest

from mmaplock_bt.stream.printed_lines import HEAD, TAIL
from mmaplock_bt.stream.thinning import Thinning
from tests.builders import declared, map_line, printed

OUTPUTS = declared(holds={"kind": "events", "fields": ["time_ns"]}, all={"kind": "counter"})
EVENT = f"{HEAD}holds|1{TAIL}"
MAPS = [map_line("holding", {"1,2": 3}), '{"type": "hist", "data": {"@h": []}}']
ENDS = [printed("open|5"), printed("close|9"), '{"type": "lost_events", "data": {"events": 2}}',
        '{"type": "attached_probes", "data": {"probes": 6}}']  # fmt: skip
SMALL = [printed("name|1|0|x"), printed("mine|1"), '{"type": "value", "data": 1}', "a warning"]


def error(helper: str, code: int) -> str:
    return json.dumps({"type": "helper_error", "helper": helper, "retcode": code, "line": 1})


ERRORS = [error("map_update_elem", -7), error("map_update_elem", -17), error("get_stackid", -17),
          error("get_stackid", -14), error("map_delete_elem", -2),
          error("map_delete_elem", -17)]  # fmt: skip


@pytest.mark.parametrize(("is_hard", "left"), [(False, SMALL + ENDS + MAPS), (True, ENDS + MAPS)])
def test_events_go_first_and_the_books_never(is_hard, left):
    thinning = Thinning(OUTPUTS)
    lines = [EVENT, *SMALL, *ERRORS, *ENDS, EVENT, *MAPS]
    found = thinning.left([line.encode() for line in lines], is_hard=is_hard)
    assert [line.decode() for line in found] == left
    assert thinning.lines == 3 + is_hard * len(SMALL), "a count that was lost, too"
    assert (thinning.map_full, thinning.stack_errors) == (1, 1)
    assert thinning.has_dropped and thinning.dropped().map_full == 1


def test_an_output_that_is_only_counted_has_no_events():
    assert not Thinning(OUTPUTS).is_event(f"{HEAD}all|1{TAIL}".encode())
    assert Thinning(OUTPUTS).is_event(EVENT.encode())
