"""What a window cost, reckoned from what the kernel counted in a part of it."""

import errno
import math
import os
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmaplock_bt.tracing import bpf_programs, price
from mmaplock_bt.tracing.bpf_programs import Figures
from mmaplock_bt.tracing.price import Estimate, Price
from tests.builders import COST, costs

S = 10**9


def counted(runs, run_ns):
    return {7: Figures(runs, run_ns, 0)}


def test_what_was_looked_at_all_the_time_is_exact():
    estimate = Estimate()
    estimate.add(5, counted(1000, 77), 5 + 3 * S, counted(1000 + 100_003, 77 + 30_000_001))
    assert estimate.of(7, 5 + 3 * S) == (100_003, 30_000_001)
    assert estimate.looked_ns == 3 * S


def test_between_looks_is_the_mean_and_behind_the_last_its_own():
    """Runs: 10 in the first second, 20 a second in the next two, then 30 a second."""
    estimate = Estimate()
    estimate.add(0, counted(0, 0), S, counted(10, 100))
    estimate.add(3 * S, counted(500, 900), 4 * S, counted(530, 1000))
    assert estimate.of(7, 4 * S) == (10 + 40 + 30, 100 + 200 + 100)
    assert estimate.of(7, 6 * S) == (10 + 40 + 30 + 60, 400 + 200)
    assert estimate.of(8, 6 * S) == (0, 0)
    assert Estimate().of(7, S) == (None, None)


@given(
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.lists(st.tuples(st.integers(1, S), st.integers(0, S)), min_size=1, max_size=20),
)
def test_a_steady_load_is_reckoned_right_however_it_is_looked_at(runs, run_ns, looks):
    """`looks`: how long each is, and the gap behind it; rates are for each ms."""
    now, estimate = 0, Estimate()

    def at(ns):
        return counted(runs * ns, run_ns * ns)

    for took_ns, gap_ns in looks:
        estimate.add(now, at(now), now + took_ns, at(now + took_ns))
        now += took_ns + gap_ns
    found = estimate.of(7, now)
    assert found == pytest.approx((runs * now, run_ns * now), rel=1e-9)


def test_the_sum_and_what_follows_from_it():
    bare = replace(COST, ppm=None, events_per_s=None, entering_ns=None)
    assert price.summed(bare, 2) == COST
    assert price.summed(bare, 4).ppm == COST.ppm // 2


def test_raw_tracepoints_cost_nothing_beyond_their_programs():
    raw = replace(COST.probes[0], probe="rawtracepoint:mmap_lock_released")
    assert price.summed(replace(COST, probes=[raw]), 2).entering_ns == 0


@pytest.mark.parametrize(
    "unknown", [{"bpftrace_ns": None}, {"probes": []},
                {"probes": [replace(COST.probes[0], runs=None, run_ns=None)]}],
)  # fmt: skip
def test_a_share_of_which_a_part_is_unknown_is_not_told(unknown):
    bare = replace(COST, **{"ppm": None, "events_per_s": None, "entering_ns": None} | unknown)
    assert price.summed(bare, 2).ppm is None


@given(costs(), st.integers(1, 4096))
def test_any_cost_can_be_summed(cost, cpus):
    found = price.summed(cost, cpus)
    assert found.ppm is None or found.ppm >= 0


def test_the_cpu_time_of_a_process_is_its_own_clocks():
    before = price.cpu_ns(os.getpid())
    sum(range(10**5))
    assert before < price.cpu_ns(os.getpid())
    assert price.cpu_ns(2**22 + 1) is None  # above the largest pid


@pytest.fixture
def tracer():
    machine = SimpleNamespace(cpus=2)
    script = SimpleNamespace(text="tracepoint:mmap_lock:mmap_lock_released { }\n")
    return SimpleNamespace(pid=os.getpid(), machine=machine, script=script)


@pytest.fixture
def programs(monkeypatch):
    """Programs of a kernel that counts 1,009 more runs and 3 more misses at each reading."""
    reading = iter(range(1, 100))

    class Fake:
        def __init__(self, _pid):
            pass

        def figures(self):
            turn = next(reading)
            return {7: Figures(1009 * turn, 1009 * 500 * turn, 3 * turn)}

        def probes(self, script):
            return dict(zip([7], bpf_programs.probes_of(script), strict=True))

    monkeypatch.setattr(price, "Programs", Fake)


def test_statistics_that_may_not_be_switched_on(monkeypatch, tracer, programs):
    """One sentence; what needs no statistics is told all the same."""

    def refuse():
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(bpf_programs, "switch_statistics_on", refuse)
    one = Price()
    one.begin(tracer)
    assert list(one.look(tracer)) == [] and one.patience_s() == math.inf
    (spent,) = one.look(tracer, last=True)
    cost = spent.cost
    assert cost.note.startswith("the kernel's statistics on BPF programs may not be switched on")
    assert cost.looked_ns == 0 and cost.ppm is None and cost.events_per_s is None
    assert cost.bpftrace_ns is not None and cost.own_ns >= 0
    (probe,) = cost.probes
    assert (probe.runs, probe.run_ns, probe.missed) == (None, None, 3)


def test_statistics_go_on_and_off_and_are_off_at_the_end(monkeypatch, tracer, programs):
    now, made = [0], []

    def switch_on():
        made.append(os.open("/dev/null", os.O_RDONLY))
        return made[-1]

    monkeypatch.setattr(bpf_programs, "switch_statistics_on", switch_on)
    monkeypatch.setattr(bpf_programs, "are_statistics_on", lambda: False)
    monkeypatch.setattr(price.time, "monotonic_ns", lambda: now[0])
    one = Price()
    one.begin(tracer)
    for _ in range(400):
        now[0] += S // 100
        assert list(one.look(tracer)) == []
    assert 8 < len(made) < 40
    one.close()
    for descriptor in made:
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(descriptor)


def test_statistics_that_others_have_on_are_not_touched_again(monkeypatch, tracer, programs):
    made = []
    monkeypatch.setattr(
        bpf_programs, "switch_statistics_on",
        lambda: made.append(os.open("/dev/null", os.O_RDONLY)) or made[-1],
    )  # fmt: skip
    monkeypatch.setattr(bpf_programs, "are_statistics_on", lambda: True)
    one = Price()
    one.begin(tracer)
    assert one.patience_s() == math.inf
    (spent,) = one.look(tracer, last=True)
    assert len(made) == 1 and spent.cost.probes[0].runs >= 1009


def test_a_bpftrace_that_is_gone_is_said(tracer):
    tracer.pid = 2**22 + 1
    one = Price()
    one.begin(tracer)
    (spent,) = one.look(tracer, last=True)
    assert spent.cost.note.startswith("bpftrace's programs cannot be looked at: No such file")
    assert spent.cost.bpftrace_ns is None and spent.cost.probes == []
