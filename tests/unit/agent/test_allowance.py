"""What tracing may take: first less is recorded, then nothing is traced."""

from mmaplock_bt.agent.allowance import CALM, EACH_NS, HIGHEST_NS, PATIENCE, Allowance, Rest, Usage
from mmaplock_bt.agent.config import Limits, Pause

MS = 10**6
IDLE = Usage(0, 0, 50 << 20, 100 << 20)


def judged(allowance, *, cpu=0.0, events=0, usage=IDLE, turns=1):
    """So many judgements at a share of one CPU and events a second."""
    for _ in range(turns):
        state = getattr(allowance, "told", (0, 0, 0))
        now, spent, seen = (
            state[0] + EACH_NS, state[1] + int(cpu * EACH_NS), state[2] + events * 5,
        )  # fmt: skip
        if state == (0, 0, 0):
            allowance.judge(0, usage, 0)
        allowance.told = now, spent, seen
        allowance.judge(now, Usage(spent, 0, usage.own_bytes, usage.bpftrace_bytes), seen)


def test_within_its_limits_nothing_changes():
    one = Allowance(Limits(), MS)
    judged(one, cpu=0.04, events=1900, turns=100)
    assert (one.floor_ns, one.reason) == (MS, "")


def test_events_raise_the_floor_and_in_the_end_detach():
    one = Allowance(Limits(), MS)
    judged(one, events=2001)
    assert one.floor_ns == 4 * MS
    judged(one, events=2001, turns=4)
    assert (one.floor_ns, one.reason) == (HIGHEST_NS, "")
    judged(one, events=2001, turns=PATIENCE - 1)
    assert one.reason == ""
    judged(one, events=2001)
    assert one.reason == "events"


def test_cpu_of_both_counts():
    one = Allowance(Limits(), MS)
    judged(one, cpu=0.06)
    assert one.floor_ns == 4 * MS
    judged(one, cpu=0.06, turns=4 + PATIENCE)
    assert one.reason == "cpu"


def test_memory_detaches_at_once():
    one = Allowance(Limits(memory="128MiB"), MS)
    judged(one)
    assert one.reason == "memory"


def test_a_calm_while_lowers_the_floor_again():
    one = Allowance(Limits(), MS)
    judged(one, events=2001, turns=2)
    judged(one, events=10, turns=CALM - 1)
    assert one.floor_ns == 16 * MS
    judged(one, events=10)
    assert one.floor_ns == 4 * MS
    judged(one, events=10, turns=2 * CALM)
    assert one.floor_ns == MS


def test_a_look_between_two_judgements_changes_nothing():
    one = Allowance(Limits(), MS)
    one.judge(0, IDLE, 0)
    assert not one.judge(EACH_NS - 1, IDLE, 10**9)


def test_rests_grow_until_tracing_went_well():
    rest = Rest(Pause(first="1s", longest="5s"))
    assert [rest.after(0) // 10**9 for _ in range(5)] == [1, 2, 4, 5, 5]
    assert rest.after(3600 * 10**9) == 10**9
