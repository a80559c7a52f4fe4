"""Peers against ours."""

import json

import pytest

from bench.checks import APART_NS, Sums, differences, of_ours, of_peer, tolerance_ns

OURS = {"read": Sums(1306, 100_000_000), "write": Sums(1097, 20_000_000)}


def test_equal():
    assert differences(OURS, dict(OURS)) == []


@pytest.mark.parametrize("more", [-1, 1])
def test_one_hold_more_or_less(more):
    theirs = {**OURS, "read": Sums(1306 + more, 100_000_000)}
    (told,) = differences(OURS, theirs)
    assert told == f"read: we counted 1306 holds, the peer {1306 + more}"


def test_a_mode_that_one_of_both_did_not_see():
    assert differences(OURS, {"read": OURS["read"]})
    assert differences({"read": OURS["read"]}, OURS)


def test_sums_within_the_clocks_noise():
    far = tolerance_ns(OURS["read"])
    assert far == 1306 * APART_NS + 1_000_000
    near, beyond = ({**OURS, "read": Sums(1306, 100_000_000 + by)} for by in (far, far + 1))
    assert differences(OURS, near) == []
    assert "apart" in differences(OURS, beyond)[0]


def test_two_that_saw_nothing_do_not_agree():
    assert differences({}, {}) == ["we counted nothing"]


def test_a_peers_lines():
    row = {"output": "owners", "mode": "read", "owner_pid": 7, "count": 3, "sum_ns": 90}
    lines = [{"ready": True}, row, {**row, "owner_pid": 8}, {**row, "output": "hold"}]
    assert of_peer("noise\n" + "\n".join(map(json.dumps, lines)), 7) == {"read": Sums(3, 90)}


def test_our_rows_of_several_kinds_are_one_process():
    rows = [
        {"key": {"mode": "read", "owner_pid": pid, "owner_kind": kind}, "count": 2, "sum": 10}
        for pid, kind in ((7, "process"), (7, "exit"), (8, "process"))
    ]
    assert of_ours({"outputs": {"owners": {"rows": rows}}}, 7) == {"read": Sums(4, 20)}
