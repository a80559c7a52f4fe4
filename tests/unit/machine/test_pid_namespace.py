"""Ids of another PID namespace are asked of bpftrace, which may not answer."""

import os

import pytest

from mmaplock_bt.errors import TargetError
from mmaplock_bt.machine import pid_namespace


@pytest.mark.parametrize(
    "body",
    [
        "exec sleep 600",
        "printf tick; exec sleep 600",
        "while :; do echo 'tick|'; sleep 0.1; done",
    ],
    ids=["silent", "half a line", "ticks alone"],
)
def test_a_bpftrace_that_does_not_answer_is_waited_for_no_longer_than_that(fake, monkeypatch, body):
    monkeypatch.setattr(pid_namespace, "is_initial", lambda: False)
    monkeypatch.setattr(pid_namespace, "LIVE_TIMEOUT_S", 0.3)
    with pytest.raises(TargetError, match="cannot be told"):
        pid_namespace.translate(fake(body), [os.getpid()])


def test_its_answer_is_taken_as_it_comes(fake, monkeypatch):
    monkeypatch.setattr(pid_namespace, "is_initial", lambda: False)
    answer = "printf 'tick|\\npid|4'; printf '711|\\n'; exec sleep 600"
    assert pid_namespace.translate(fake(answer), [os.getpid()]) == [4711]
