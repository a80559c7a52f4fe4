"""What is told while a bpftrace starts, dies, and is started again."""

from collections import Counter

import pytest

from mmaplock_bt.agent import supervision
from mmaplock_bt.agent.config import Config
from mmaplock_bt.agent.kernel_maps import Open
from mmaplock_bt.agent.supervision import Owner, Supervision
from mmaplock_bt.errors import BpftraceError, TargetError
from mmaplock_bt.machine import inventory


class Fake:
    """A bpftrace's session that dies at its second read; `now` is called at each step."""

    pid, script, beat_ns, silent_ns, events, unparsed, is_complete = 1, None, 0, 0, 0, 0, True
    now: "staticmethod[[str], None]"
    refusals: "list[Exception | None]"

    def __init__(self, _profile, _machine, _charging, meanwhile=None):
        self.meanwhile = meanwhile
        self.is_alive, self.reads, self.lost, self.full = True, 0, 3, 2
        self.maps = self

    def __enter__(self):
        self.now("starting")
        if self.refusals and (error := self.refusals.pop(0)):
            raise error
        if self.meanwhile is not None:
            self.meanwhile()
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

    def succeed(self, old):
        return old.counted()[0]

    def stop(self):
        self.now("stopping")
        return []

    def end(self, _rest):
        self.now("ending")
        return Counter({("wait", 0, 1024): 10})

    def why(self):
        return "its last words"


@pytest.fixture
def run(monkeypatch):
    """Runs a supervision until it has taken so many steps; returns (step, snapshot) and its log."""

    def ran(steps, refusals=(), reloads=()):
        said, seen = [], []
        one = Supervision(Config(pause={"first": "1ms"}), inventory.offline(), said.append)

        def now(what):
            seen.append((what, one.snapshot()))

        monkeypatch.setattr(Fake, "now", staticmethod(now), raising=False)
        asked, answers = list(reloads), []
        monkeypatch.setattr(Fake, "refusals", list(refusals), raising=False)
        monkeypatch.setattr(supervision, "Session", Fake)
        monkeypatch.setattr(supervision.ending, "noted", lambda: len(seen) >= steps)
        owner = Owner(
            lambda: None, lambda: None, lambda: asked.pop(0) if asked else None,
            lambda _, why: answers.append(why),
        )  # fmt: skip
        one.run(owner)
        return seen, said + answers

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


ANOTHER = Config(pause={"first": "1ms"}, culprits={"top": 3})


def test_while_another_configuration_is_followed_nothing_pauses(run):
    seen, said = run(9, [], [ANOTHER])
    assert [what for what, _ in seen][:7] == [
        "starting", "reading", "starting", "reading", "stopping", "ending", "closed"
    ]  # fmt: skip
    told = [snapshot.tracing.counts["wait", 0, 1024] for _, snapshot in seen[1:7]]
    assert told == sorted(told)
    assert said[-1] == "" and (seen[6][1].restarts, seen[6][1].reloads) == (0, 1)


def test_one_with_which_bpftrace_does_not_start_is_not_followed(run):
    seen, said = run(5, [None, BpftraceError("no room\nmore")], [ANOTHER])
    assert said[-1] == "no room"
    assert not any(snapshot.reloads for _, snapshot in seen)


def test_while_nothing_is_traced_another_one_is_tried_at_once(run, monkeypatch):
    monkeypatch.setattr(supervision.Rest, "after", lambda *_: 3600 * 10**9)
    seen, said = run(7, [], [None, ANOTHER])
    assert [what for what, _ in seen].count("starting") == 2 and said[-1] == ""
