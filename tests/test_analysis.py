import json
import re
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmaplock_bt import analysis, blame, events, renderers
from mmaplock_bt.errors import UsageError
from mmaplock_bt.result import (
    Books,
    Loss,
    OutputData,
    ProfileInfo,
    Result,
    TargetInfo,
    Tool,
    Window,
    from_json,
    to_json,
)

HOSTILE = 'a",b\n\x1b[31m[bold]'


def bucketed(values: list[int]) -> list[list[int]]:
    """What the script's bucket arithmetic yields for these values."""
    counts: dict[int, int] = {}
    for value in values:
        shift = max(0, value.bit_length() - 1 - 3)
        low = value >> shift << shift
        counts[low] = counts.get(low, 0) + 1
    return [[low, analysis.upper(low), n] for low, n in sorted(counts.items())]


@given(st.lists(st.integers(0, 2**50), min_size=1), st.sampled_from(list(analysis.QUANTILES)))
def test_a_quantile_interval_holds_the_true_quantile(values, name):
    numerator, denominator = analysis.QUANTILES[name]
    low, high = analysis.quantile(
        bucketed(values), len(values), max(values), numerator, denominator
    )
    rank = -(-len(values) * numerator // denominator)
    assert low <= sorted(values)[max(0, rank - 1)] <= high
    assert Fraction(high - low) <= Fraction(max(low, 1), 8)


@given(st.text())
def test_no_line_breaks_the_parser(line):
    list(events.parse([line, json.dumps({"type": line, "data": line}), f'{{"type": "{line}"']))


@pytest.mark.parametrize(
    ("line", "record"),
    [
        ('{"type": "attached_probes", "data": {"probes": 4}}', events.Attached(4)),
        ('{"type": "attached_probes", "count": 4, "data": {"probes": 4}}', events.Attached(4)),
        ('{"type": "lost_events", "count": 12, "data": {"events": 12}}', events.Lost(12)),
        ('{"type": "map", "data": {"@c": 5}}', events.MapDump("c", (("", 5),))),
        ('{"type": "map", "data": {"@c": {}}}', events.MapDump("c", ())),
        (
            '{"type": "map", "data": {"@c": {"1,2": "18446612682375452288", "1,2": 3}}}',
            events.MapDump("c", (("1,2", 18446612682375452288), ("1,2", 3))),
        ),
        ("stdin:1:1-3: WARNING: something", events.Unparsed("stdin:1:1-3: WARNING: something")),
    ],
)
def test_dialects(line, record):
    assert list(events.parse([line])) == [record]


def test_names_are_exact():
    assert analysis._text("\\x61\\x22\\x2c\\x0a\\x1b\\x00\\x41") == 'a",\n\x1b'
    assert analysis._text("\\xff\\x41\\x00") == "\\xffA"


def test_the_tracers_own_frames_are_dropped():
    text = "\n    bpf_prog_1234+1\n        __mmap_lock_do_trace_released+75\n    __vm_munmap+175\n"
    assert analysis.frames(text) == ["__vm_munmap+175"]


def wait(**more):
    return {"mm": "1", "tid": 1, "time_ns": 100, "wait_ns": 50, "overtakes": 0,
            "writers_before": 0, "write_hold_ns": 0} | more  # fmt: skip


def hold(end, ns, mode="read", tid=2):
    return {"mm": "1", "tid": tid, "pid": tid, "comm": "x", "mode": mode, "time_ns": end,
            "hold_ns": ns, "kernel_stack": []}  # fmt: skip


@pytest.mark.parametrize(
    ("row", "holds", "label"),
    [
        (wait(), [hold(95, 60)], "one long hold"),
        (wait(writers_before=7, write_hold_ns=40), [hold(60, 8, "write")], "a queue of writers"),
        (wait(overtakes=9), [hold(60, 9), hold(70, 9)], "starved by overtaking readers"),
        (wait(), [], "unexplained"),
        (wait(), [hold(300, 5), hold(49, 40), hold(95, 60, tid=1)], "unexplained"),
    ],
)
def test_blame(row, holds, label):
    blame.join([row], holds)
    assert row["label"] == label


def made(outputs: dict[str, OutputData]) -> Result:
    return Result(
        1,
        Tool("mmaplock-bt", "0"),
        ProfileInfo("p", "p", {}, {}, "0"),
        TargetInfo(HOSTILE, "x", 1, HOSTILE, {}),
        Window("2026-01-01T00:00:00+00:00", 1, "duration", None),
        outputs,
        Books(*[0] * 9),
        Loss(0, 0, 0, 0, 1, 1, True),
    )


ROW = {"time_ns": 1, "hold_ns": 2, "mode": "read", "tid": 1, "pid": 1, "comm": HOSTILE,
       "owner_pid": None, "owner_comm": None, "owner_kind": "teardown", "mm": "0x1",
       "kernel_stack": [HOSTILE * 30], "user_stack": [HOSTILE]}  # fmt: skip
KEY = {"mode": "read", "owner_pid": 1, "owner_comm": HOSTILE}
HIST = {"key": KEY, "count": 2, "sum": 3, "max": 2, "buckets": [[0, 0, 1], [2, 2, 1]],
        "quantiles": {q: [2, 2] for q in analysis.QUANTILES}}  # fmt: skip
FULL = {
    "e": OutputData("events", "E", "ns", list(ROW), [ROW] * 12),
    "t": OutputData("table", "T", "ns", list(KEY), [{"key": KEY, "count": 1, "sum": 1, "max": 1}]),
    "c": OutputData("counter", "C", "count", [], [{"key": {}, "count": 1}]),
    "h": OutputData("histogram", "H", "ns", list(KEY), [HIST]),
}
EMPTY = {name: OutputData(o.kind, o.title, o.unit, o.keys, []) for name, o in FULL.items()}


@pytest.mark.parametrize("render", renderers.BY_NAME.values(), ids=renderers.BY_NAME)
@pytest.mark.parametrize("outputs", [{}, EMPTY, FULL], ids=["none", "empty", "hostile"])
def test_every_renderer_over_every_result(render, outputs):
    text = render(made(outputs))
    assert "\x1b" not in text
    assert text.endswith("\n")


def test_a_result_reads_back():
    assert from_json(to_json(made(FULL))) == made(FULL)


def test_no_header_is_a_sentence():
    with pytest.raises(UsageError, match="no raw stream"):
        analysis.analyse(["{}"])


@pytest.mark.parametrize("path", sorted(Path(__file__).parent.glob("data/*.ndjson")), ids=str)
def test_captured_streams(path):
    result = analysis.analyse(path.read_text().split("\n"))
    assert result.loss.complete and result.books.residue == 0
    assert result.outputs["hold"].rows


def test_missed_events_are_never_complete():
    """No counter of bpftrace's knows of a probe that did not run; the books do."""
    path = min(Path(__file__).parent.glob("data/*munmaps.ndjson"))
    text = re.sub(
        r'("@book_acquires": )(\d+)', lambda m: m[1] + str(int(m[2]) - 1), path.read_text()
    )
    result = analysis.analyse(text.split("\n"))
    assert result.books.residue == 2 and not result.loss.complete
    assert "the books do not balance" in renderers.BY_NAME["table"](result)
