"""Findings: sentences of a table's rows, ranked, with what is known of causes."""

from dataclasses import replace

import pytest

from mmaplock_bt.analysis import findings
from mmaplock_bt.result.model import Command
from mmaplock_bt.spec.findings import CalmRule, FindingRule
from tests import builders

SECOND = 10**9
KEYS = ["victim", "culprit", "cause"]
GROUP = {
    "kind": "table", "unit": "ns", "of": "unknown", "value": "sum", "keys": KEYS,
    "distinct": {"holds": "hold", "processes": "pid", "owners": "owner_pid"},
    "worst": ["victim_pid", "pid", "owner_pid", "actor_kind"], "period": True,
}  # fmt: skip
RULE = {
    "of": "culprits", "harm": "waited", "often": "holds", "times": "hold|holds",
    "victim": {"name": "victim", "pid": "victim_pid"},
    "culprit": {"name": "culprit", "pid": "pid", "number": "processes", "kind": "actor_kind"},
    "says": "{victim} waited {total} ({share}) for {culprit}, which was {cause}: {often}, "
    "the longest {longest}.",
    "itself": "{victim} waited {total} for its own threads.",
    "run": "blame",
}  # fmt: skip


def row(**changes):
    key = {"victim": "redis", "culprit": "agent", "cause": "smaps/maps/numa_maps"}
    plain = {
        "count": 31, "sum": 179 * 10**6, "max": 47 * 10**6, "holds": 29, "processes": 1,
        "owners": 1, "victim_pid": 811, "pid": 4711, "owner_pid": 811, "actor_kind": "process",
        "period_ns": None, "period_error_ns": None,
    }  # fmt: skip
    key |= {name: changes.pop(name) for name in KEYS if name in changes}
    return {"key": key, **plain, **changes}


def made(*rows, **changes):
    result = builders.made({"culprits": (GROUP, list(rows))})
    window = replace(result.window, duration_ns=SECOND, command=None)
    return replace(result, window=window, **changes)


def found(*rows, rule=RULE, result=None, calm=()):
    result = result or made(*rows)
    calms = [CalmRule.model_validate(one) for one in calm]
    return findings.find(result, [FindingRule.model_validate(rule)], calms)


def test_the_sentence_names_both_sides_the_cause_and_how_much():
    (one,) = found(row())
    assert one.sentence == (
        "redis[811] waited 179 ms (18 % of the window) for agent[4711], which was "
        "reading /proc/PID/smaps, maps or numa_maps: 29 holds, the longest 47.0 ms."
    )
    assert (one.total_ns, one.longest_ns, one.count) == (179 * 10**6, 47 * 10**6, 29)
    assert (one.share_permille, one.sure, one.harm) == (179, "exact", "waited")
    assert one.remedy and one.next == ["run", "blame", "-p", "811"]


def test_several_processes_of_a_name_are_one_culprit():
    (one,) = found(row(culprit="cat", processes=37, holds=1, period_ns=2 * SECOND))
    assert "for 37 processes named cat, which" in one.sentence
    assert "1 hold, every 2.00 s, the longest" in one.sentence


def test_a_kernel_thread_and_nobody():
    (thread,) = found(row(culprit="khugepaged", actor_kind="kernel"))
    (nobody,) = found(row(culprit=None, pid=None))
    assert thread.culprit == "the kernel thread khugepaged"
    assert nobody.culprit == findings.NOBODY


def test_a_process_that_waits_for_itself():
    (one,) = found(row(pid=811))
    assert one.sentence == "redis[811] waited 179 ms for its own threads."


def test_the_worst_comes_first_and_what_is_too_little_is_none():
    rule = RULE | {"least": "10 %"}
    least = row(culprit="least", sum=99 * 10**6)
    some = row(culprit="some", sum=101 * 10**6)
    most = row(culprit="most", sum=900 * 10**6)
    assert [one.culprit for one in found(some, least, most, rule=rule)] == [
        "most[4711]",
        "some[4711]",
    ]


def test_more_waiting_than_the_window_is_long():
    (one,) = found(row(sum=2300 * 10**6))
    assert "2.3 times the window: several waited at once" in one.sentence


@pytest.mark.parametrize(
    ("change", "sure"),
    [
        (lambda r: r, "exact"),
        (lambda r: replace(r, profile=replace(r.profile, sample=16)), "estimated"),
        (lambda r: replace(r, loss=replace(r.loss, complete=False)), "at least"),
        (lambda r: replace(r, books=replace(r.books, spinning=3)), "at least"),
    ],
)
def test_how_sure_it_is(change, sure):
    (one,) = found(result=change(made(row())))
    assert one.sure == sure


def test_the_next_command_keeps_the_filters_and_the_command():
    result = made(row())
    told = {"owner": {"comm": "re dis"}, "actor": {"pid": 7, "descendants": True}, "mode": "read"}
    filtered = replace(result, profile=replace(result.profile, filter=told))
    (one,) = found(result=filtered)
    assert one.next == [
        "run", "blame", "--owner-comm", "re dis", "--actor-pid", "7", "--descendants",
        "--mode", "read",
    ]  # fmt: skip
    ended = replace(result.window, command=Command(["./work", "-x"], 0))
    (again,) = found(result=replace(result, window=ended))
    assert again.next == ["run", "blame", "--", "./work", "-x"]  # its pid is gone


def test_rows_that_are_not_meant():
    rule = RULE | {"where": {"actor_kind": "process"}, "but": {"cause": ["exit"]}}
    rows = [row(actor_kind="kernel"), row(cause="exit"), row(cause="fork")]
    assert [one.cause for one in found(*rows, rule=rule)] == ["fork"]


def test_where_nobody_waited_that_is_said_with_how_sure_it_is():
    calm = [
        {"when": "culprits.count > 0", "says": "It was taken {observed} times."},
        {"when": "culprits.count == 0", "says": "Nobody waited."},
    ]
    (quiet,) = found(calm=calm)
    assert (quiet.harm, quiet.sentence, quiet.sure) == ("calm", "Nobody waited.", "exact")
    lossy = made()
    unsure = replace(lossy, loss=replace(lossy.loss, complete=False))
    (one,) = found(result=unsure, calm=calm)
    assert one.sure == "at least"
    assert [one.harm for one in found(row(), calm=calm)] == ["waited"]


def test_hostile_names_are_made_harmless():
    (one,) = found(row(culprit='a",b\n\x1b[31m{total}', victim="{cause}"))
    assert "\x1b" not in one.sentence and "\n" not in one.sentence
    assert one.sentence.startswith("{cause}[811] waited 179 ms")
    assert r'a",b\n\x1b[31m{total}[4711]' in one.sentence


def test_no_rules_no_findings():
    assert findings.find(made(row()), [], []) is None
