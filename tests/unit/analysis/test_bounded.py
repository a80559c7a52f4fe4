"""However long a stream is, and however much of it is new each time: what is kept stays as large.

Sizes are those of the objects themselves: what an allocator keeps back is none of this.
"""

import gc
import json
import sys
import types
from dataclasses import dataclass

import pytest

from mmaplock_bt.analysis import grouping, kept, making, tally
from mmaplock_bt.analysis.analyse import analyse, analyse_lines
from mmaplock_bt.analysis.making import Making
from mmaplock_bt.result.loss import left_out
from mmaplock_bt.spec import profile
from mmaplock_bt.spec.outputs import Events, Group
from mmaplock_bt.stream import collect, recent, recording
from mmaplock_bt.stream.memo import Memo
from mmaplock_bt.stream.records import (
    LINES,
    CgroupPaths,
    Decoder,
    Followed,
    Look,
    Span,
    Ticked,
    UserFrames,
)
from tests import story
from tests.builders import declared, escaped, head, map_line, printed, shown_as_table, stack_text

BOUND = 40
TIMES = 10
_SHARED = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.CodeType)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Every bound of a stream's analysis; memos of what was read are emptied as ever."""
    for module, name in (
        (recent, "MOST"), (collect, "FRAMES"), (collect, "TICKS"), (collect, "MAPS"),
        (kept, "FIRST"), (kept, "SAMPLE"), (making, "SPANS"), (making, "BATCH"),
        (grouping, "MOST"), (grouping, "DISTINCT"), (grouping, "STARTS"), (tally, "CELLS"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, BOUND)
    monkeypatch.setattr(Memo.__init__, "__defaults__", (BOUND,))


@dataclass
class Taken:
    """What objects take, themselves and all that they lead to."""

    objects: int
    size: int


def taken(*roots):
    known, queue, size = set(), list(roots), 0
    while queue:
        one = queue.pop()
        if id(one) not in known and not isinstance(one, _SHARED):
            known.add(id(one))
            size += sys.getsizeof(one)
            queue += gc.get_referents(one)
    return Taken(len(known), size)


def word(column, at):
    match column.type:
        case "enum":
            return str(at % len(column.labels))
        case "hex":
            return f"{2**63 + 64 * at:x}"
        case "text":
            return escaped(f"n{at}".encode())
        case "kernel_stack":
            return stack_text(["__vm_munmap+5", f"f{at}+1"])
        case "user_stack":
            return stack_text([f"0x{4096 * at:x}"])
        case _:
            return str(at + 1)


def different(outputs, first, last):
    """Lines of every kind, in each of which all is new."""
    events = {n: o.printed for n, o in outputs.items() if o.kind == "events" and o.is_printed}
    own = {n: layout.columns for n, layout in LINES.items() if n not in ("open", "close")}
    for at in range(first, last):
        for name, columns in (own | events).items():
            yield printed("|".join([name, *(word(column, at) for column in columns)]))
        spans = tuple(Span(state, at, f"0x{at:x}", "read", at) for state in ("hold", "wait"))
        stacks = {str(at): ["do_madvise+1", f"io_schedule+{at}"]}
        yield Look(at, spans=spans, stacks=stacks).line()
        yield CgroupPaths({str(at): f"/{at}"}).line()
        yield UserFrames(at, {f"0x{at:x}": f"f{at} (x)"}).line()
        yield Ticked(at, {"x": [[0, at, 1]]}).line()
        yield Followed(at, 1 << at % 60, None).line()
        yield map_line(f"m{at}", {"": at})
        yield json.dumps({"type": "hist", "data": {f"@h{at}": [{"min": 0, "max": 1, "count": 1}]}})
        yield from (f"stray {at}", json.dumps({"type": "runtime_error", "data": f"e{at}"}))


def outputs_of(name):
    return profile.load(name).template.declaration.outputs


@pytest.mark.parametrize("name", profile.names())
def test_what_is_kept_does_not_grow_with_the_stream(name):
    outputs = outputs_of(name)
    making_, decoder = Making(outputs), Decoder(outputs)

    def fed(first, last):
        lines = different(outputs, first, last)
        collect.collect(decoder.decode(lines), making_.takers, making_.got)
        return taken(making_, decoder)

    full = fed(0, TIMES // 2 * BOUND * 2)
    more = fed(TIMES // 2 * BOUND * 2, TIMES * BOUND * 2)
    assert more.objects <= full.objects * 1.05
    assert more.size <= full.size * 1.05


def test_all_of_it_is_counted_and_what_was_forgotten_is_told():
    outputs = outputs_of("overview")
    count = TIMES * BOUND
    lines = [
        story.header(profile.load("overview")),
        printed("open|5"),
        *different(outputs, 0, count),
    ]
    first, rest = recording.read(lines)
    result = analyse(first, Decoder(first.outputs).decode(rest))
    events = {n: o for n, o in outputs.items() if isinstance(o, Events) and o.is_printed}
    assert events
    for name in events:
        data = result.outputs[name]
        assert data.total == count == sum(row["count"] for row in data.counts)
        assert f"of {count:,} events kept" in left_out(data)
    told = "\n".join(result.messages)
    for what in ("names of processes", "threads", "cgroups", "address spaces' owners", "holders",
                 "stacks of running holders", "open waits and holds", "user frames' names",
                 "steps"):  # fmt: skip
        assert f"there were more {what} than are remembered" in told, what
    assert f"names of processes than are remembered: {count - BOUND:,} were forgotten" in told
    assert "there were more threads than are remembered" in shown_as_table(result)
    assert result.loss.unparsed_lines >= 2 * count - BOUND  # maps that are no output's, strays
    assert not result.loss.complete


TABLE = {"kind": "table", "unit": "ns", "of": "x", "value": "hold_ns", "keys": ["mode"],
         "distinct": {"threads": "tid"}}  # fmt: skip


def table_of(threads, **more):
    plain = {"kind": "events", "unit": "ns", "fields": ["time_ns", "hold_ns", "mode", "tid"]}
    outputs = declared(x=plain, t=TABLE | more)
    events = [printed(f"x|{at}|1|0|{tid}") for at, tid in enumerate(threads, 9)]
    return analyse_lines([head(outputs).line(), printed("open|5"), *events]).outputs["t"]


def test_different_values_beyond_the_bound_are_told():
    assert isinstance(declared(x=TABLE)["x"], Group)
    (row,) = table_of(list(range(BOUND)) * 2).rows
    assert (row["count"], row["threads"]) == (2 * BOUND, BOUND)
    more = table_of([*range(BOUND + 1), 0, 1, 2])
    (row,) = more.rows
    assert (row["count"], row["threads"]) == (BOUND + 4, BOUND)
    assert more.lacks == f"more than {BOUND:,} different values: of threads not all"


def test_rows_in_no_group_remember_no_values():
    found = table_of(range(9 * BOUND), keys=["tid"])
    assert len(found.rows) == BOUND and all(row["threads"] == 1 for row in found.rows)
    assert f"{8 * BOUND:,} events are in none" in found.lacks


def test_a_table_that_lacks_forgotten_names_says_so():
    keyed = declared(x={"kind": "table", "unit": "ns", "keys": ["pid"]})
    names = [printed(f"name|{pid}|0|{escaped(b'n')}") for pid in range(1, BOUND + 3)]
    for pid, lacks in ((1, "names of processes were forgotten"), (BOUND + 2, "")):
        lines = [head(keyed).line(), printed("open|5"), *names, map_line("x", {str(pid): 1})]
        output = analyse_lines(lines).outputs["x"]
        assert lacks in output.lacks and bool(lacks) == bool(output.lacks)
        assert output.rows[0]["key"]["comm"] == (None if lacks else "n")


def test_a_name_that_was_forgotten_is_known_again_when_it_is_told_again():
    known = recent.Recent(2)
    for key in (1, 2, 1, 3):
        known[key] = key * 10
    assert dict(known) == {1: 10, 3: 30} and known.forgotten == 1
    known.update({2: 21})
    assert dict(known) == {3: 30, 2: 21} and known.forgotten == 2
