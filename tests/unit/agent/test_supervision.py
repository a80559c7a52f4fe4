"""What is told while a bpftrace starts, dies, and is started again."""

from collections import Counter

import pytest

from mmaplock_bt.agent import supervision
from mmaplock_bt.agent.config import Config
from mmaplock_bt.agent.kernel_maps import Open
from mmaplock_bt.agent.supervision import Supervision
from mmaplock_bt.errors import BpftraceError, TargetError
from mmaplock_bt.machine import inventory


class Fake:
    """A bpftrace's session that dies at its second read; `now` is called at each step."""

    pid, script, beat_ns, silent_ns, events, unparsed, is_complete = 1, None, 0, 0, 0, 0, True
    now: "staticmethod[[str], None]"
    refusals: "list[Exception | None]"

    def __init__(self, *_):
        self.is_alive, self.reads, self.lost, self.full = True, 0, 3, 2
        self.maps = self

    def __enter__(self):
        self.now("starting")
        if self.refusals and (error := self.refusals.pop(0)):
            raise error
        return self

    def __exit__(self, *_):
        self.now("closed")

    def read(self, _):
        self.now("reading")
        self.reads += 1
        self.is_alive = self.reads < 2
        return []

    def hear(self, _):
        pass

    def keeps_alive(self):
        return self.is_alive

    def counted(self):
        return Counter({("wait", 0, 1024): self.reads}), 0

    def tick(self, _):
        return Open(0)

    def longest(self, _):
        return {}

    def end(self):
        self.now("ending")
        return Counter({("wait", 0, 1024): 10})

    def why(self):
        return "its last words"


@pytest.fixture
def run(monkeypatch):
    """Runs a supervision until it has taken so many steps; returns (step, snapshot) and its log."""

    def ran(steps, refusals=()):
        said, seen = [], []
        one = Supervision(Config(pause={"first": "1ms"}), inventory.offline(), said.append)

        def now(what):
            seen.append((what, one.snapshot()))

        monkeypatch.setattr(Fake, "now", staticmethod(now), raising=False)
        monkeypatch.setattr(Fake, "refusals", list(refusals), raising=False)
        monkeypatch.setattr(supervision, "Session", Fake)
        monkeypatch.setattr(supervision.ending, "noted", lambda: len(seen) >= steps)
        one.run(lambda: None, lambda: None)
        return seen, said

    return ran


def test_counters_never_fall_whatever_happens(run):
    seen, said = run(40)
    for name in ("lost_events", "map_full", "restarts"):
        told = [getattr(snapshot, name) for _, snapshot in seen]
        assert told == sorted(told) and told[-1] > told[0], name
    waits = [one.tracing.counts["wait", 0, 1024] for _, one in seen if one.tracing]
    assert waits == sorted(waits) and waits[-1] > 50
    assert "bpftrace ended by itself (its last words): nothing is traced for 1.00 ms" in said[0]
    assert "2.00 ms" in said[1] and "4.00 ms" in said[2]


def test_nothing_is_told_of_locks_but_while_bpftrace_runs(run):
    seen, _ = run(40)
    assert {what for what, snapshot in seen if snapshot.tracing} == {"reading"}
    reasons = {snapshot.reason for what, snapshot in seen if what == "ending"}
    assert reasons == {"died"}


@pytest.mark.parametrize("error", [TargetError("a", "b"), BpftraceError("c")])
def test_the_first_that_does_not_start_is_the_end(run, error):
    with pytest.raises(type(error)):
        run(40, [error])


def test_a_later_one_is_tried_again(run):
    seen, said = run(40, [None, BpftraceError("no room\nmore")])
    assert any("bpftrace did not start (no room): nothing is traced" in line for line in said)
    assert seen[-1][1].restarts > 2
