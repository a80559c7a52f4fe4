"""Within a limit: how many locks are followed, when fewer are, and when none can be."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmaplock_bt.errors import TargetError
from mmaplock_bt.stream import records
from mmaplock_bt.tracing import overhead
from mmaplock_bt.tracing.ending import Stop
from mmaplock_bt.tracing.overhead import RAREST, TRIAL, Overhead, chosen
from tests.builders import COST

LIMIT = 20_000


def cost(ppm, events_per_s=1000):
    """All of it in programs."""
    bare = replace(COST, bpftrace_ns=0, own_ns=0)
    return replace(bare, ppm=round(ppm), events_per_s=events_per_s)


@given(st.integers(0, 10**5), st.integers(0, 10**6), st.integers(1, 10**6))
def test_the_first_number_that_keeps_the_limit_is_chosen(always, followed, limit):
    full, less = cost(always + followed), cost(always + followed / TRIAL)
    found = chosen(limit, 1, full, less)

    def predicted(one_in):
        return always + followed / one_in

    near = 2  # parts per million are whole
    if found is None:
        assert predicted(RAREST) > limit - near
    elif found == 1:
        assert predicted(1) <= limit
    else:
        assert found in [1 << n for n in range(1, 11)]
        assert predicted(found) <= limit + near and predicted(found // 2) > limit - near


@pytest.mark.parametrize(
    ("full", "less", "sample", "found"),
    [
        (cost(20_000), None, 1, 1),
        (cost(20_001), None, 1, None),
        (cost(20_001), cost(20_001), 1, None),
        (cost(40_000), cost(4_000), 1, 4),
        (cost(40_000), cost(4_000), 16, 64),
        (cost(40_000), cost(4_000), 1024, None),
        # twice the events in the second look: both are reckoned up to that load
        (cost(20_400), cost(2_000, 2000), 1, 4),
        (cost(40_000, 0), cost(4_000, 0), 1, 4),
    ],
)
def test_choices(full, less, sample, found):
    assert chosen(LIMIT, sample, full, less) == found


def test_what_processes_take_does_not_grow_with_the_load():
    """Here they take all: nothing is gained by following fewer, whatever the events."""
    idle = replace(COST, probes=[], entering_ns=0, events_per_s=10)
    dear, dearer = replace(idle, ppm=15_000), replace(idle, ppm=15_000, events_per_s=10**6)
    assert chosen(14_999, 1, dear, dearer) is None
    assert overhead._parts(dear, dearer) == pytest.approx((15_000, 0))


class Looks:
    """What looks will see; they end at once. A stand-in for `_Look`."""

    def __init__(self, *costs):
        self.costs = list(costs)

    def __call__(self, *_):
        return self

    def cost(self):
        return self.costs.pop(0)

    def close(self):
        pass


@pytest.fixture
def limited(monkeypatch):
    """An Overhead of 2 %, what it wrote to the script's map, and what it said."""
    written, said = [], []

    def make(*costs, samples=True, sample=1):
        every = SimpleNamespace(put=lambda _, value: written.append(value), descriptor=-1)
        monkeypatch.setattr(overhead, "_Look", Looks(*costs))
        monkeypatch.setattr(overhead, "Programs", lambda _pid: None)
        monkeypatch.setattr(overhead, "_map_of", lambda _: every if samples else None)
        monkeypatch.setattr(overhead, "EACH_NS", 0)
        monkeypatch.setattr(overhead, "SOON_NS", 0)
        one = Overhead(LIMIT, sample, said.append)
        assert list(one.settle(SimpleNamespace(pid=1))) == []
        return one

    make.written, make.said = written, said
    return make


def numbers(written):
    return [1 << (value & records.EVERY["log2"]) for value in written]


def test_what_is_cheap_is_traced_whole(limited):
    one = limited(cost(10_000))
    assert limited.written == [] and limited.said == []
    assert [step.sample for step in one.steps] == [1]
    assert one.noted(COST) == replace(COST, limit_ppm=LIMIT, steps=one.steps)


def test_two_looks_then_a_sample(limited):
    one = limited(cost(40_000), cost(4_000))
    assert numbers(limited.written) == [TRIAL, 4]
    assert [(step.sample, step.ppm) for step in one.steps] == [
        (1, None), (TRIAL, 40_000), (4, 40_000)
    ]  # fmt: skip
    assert limited.said == ["tracing took 4 % of the machine: from now on 1 lock in 4 is followed"]


def test_a_sample_to_begin_with(limited):
    one = limited(cost(40_000), cost(4_000), sample=10)
    assert numbers(limited.written) == [16 * TRIAL, 64]
    assert one.steps[0].sample == 16


@pytest.mark.parametrize(
    ("costs", "samples", "says"),
    [
        ([cost(40_000)], False, "4 % of the machine's CPU time, this profile cannot follow a samp"),
        ([cost(40_000), cost(40_000)], True, "4 % .*, and 4 % if hardly any lock is followed"),
        (
            [replace(COST, ppm=None, note="no rights")],
            True,
            "cannot be told: no rights: leave --max-over",
        ),
    ],
)
def test_refusals(limited, costs, samples, says):
    with pytest.raises(TargetError, match=says) as caught:
        limited(*costs, samples=samples)
    assert caught.value.exit_code == 3 and "\n" not in str(caught.value)


def test_a_higher_load_means_fewer_locks(limited):
    one = limited(cost(10_000), cost(19_999), cost(50_000), cost(25_000), cost(20_000))
    for _ in range(4):
        one.watch(None)
    assert [step.sample for step in one.steps] == [1, 4, 8]
    assert numbers(limited.written) == [4, 8] and not one.is_exceeded


def test_nothing_left_to_step_back_to_ends_the_window(limited):
    dear = [cost(10**6)] * 2 + [cost(30_000), cost(1), *[cost(30_000)] * overhead.PATIENCE]
    one = limited(cost(1), *dear)
    stop = Stop(overhead=one)
    alive = SimpleNamespace(alive=True, received_bytes=0)
    for _ in dear:
        assert stop.reason(alive) is None
        one.watch(None)
    assert one.is_exceeded and stop.reason(alive) == "limit"
    assert one.noted(COST).note == overhead.EXCEEDED
    assert limited.said[-1].endswith("the window ends")
    one.watch(None)  # looks no more


def test_a_cost_that_cannot_be_told_later_changes_nothing(limited):
    one = limited(cost(10_000), replace(COST, ppm=None))
    one.watch(None)
    assert len(one.steps) == 1 and not one.is_exceeded


def test_without_a_limit_nothing_is_looked_at():
    one = Overhead(None, 1, pytest.fail)
    assert list(one.settle(None)) == []
    one.watch(None)
    assert one.noted(COST) == COST
    one.close()
