"""What the reports say of a window's cost."""

from dataclasses import replace

import pytest
from hypothesis import given, settings

from mmaplock_bt import renderers
from mmaplock_bt.judging.series import Series
from mmaplock_bt.renderers import price
from mmaplock_bt.result.model import Step
from tests.builders import COST, costs, run, shown_as_table

NOTE = "the kernel's statistics may not be switched on"


def of(cost, cpus=2):
    result = run(5)
    return replace(result, cost=cost, target=replace(result.target, cpus=cpus))


def test_the_whole_sentence():
    assert price.told(of(COST)) == (
        "2.3 % of the machine: BPF programs 31.0 ms (released 249 ns × 80,003, start_locking 275 ns"
        " × 39,997), entering them about 6.00 ms, bpftrace 40.0 ms, mmaplock-bt 60.0 ms of CPU"
        " in 3.00 s on 2 CPUs; 40,001 events/s"
    )


def test_an_estimate_is_called_one():
    told = price.told(of(replace(COST, looked_ns=COST.duration_ns // 10)))
    assert told.startswith("about 2.3 % of the machine: ")
    assert "released 249 ns × 80,000, " in told and told.endswith("; 40,000 events/s")


def test_without_statistics_the_rest_is_told():
    cost = replace(COST, ppm=None, events_per_s=None, entering_ns=None, probes=[], note=NOTE)
    assert price.told(of(cost, cpus=1)) == (
        f"bpftrace 40.0 ms, mmaplock-bt 60.0 ms of CPU in 3.00 s on 1 CPU; {NOTE}"
    )


@pytest.mark.parametrize(
    ("ppm", "said"),
    [(0, "under 0.01 %"), (99, "under 0.01 %"), (100, "0.010 %"), (1_234, "0.12 %"),
     (22_834, "2.3 %"), (123_456, "12 %"), (1_000_000, "100 %"), (10**18, "100,000,000,000,000 %")],
)  # fmt: skip
def test_shares(ppm, said):
    assert price.percent(ppm) == said


def test_the_report_has_it_on_lines_that_fit():
    shown = shown_as_table(of(COST))
    lines = shown.split("loss:  none known\n")[1].splitlines()
    assert lines[0].startswith("cost:  2.3 % of the machine: BPF programs")
    assert all(line.startswith("       ") for line in lines[1:])
    assert max(map(len, lines)) < 100
    assert "cost" not in shown_as_table(of(None))


def test_several_runs_tell_their_shares():
    shown = renderers.rendered(Series([of(COST), of(None)], []), "table")
    assert "1,000 acquisitions, complete, cost 2.3 % of the machine\n" in shown


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        ([COST], "Cost: 2.3 % of the machine: BPF programs 31.0 ms (released 249 ns × 80,003,"),
        ([COST, replace(COST, ppm=31_000), None], "Cost: 3.1 % of the machine in the dearest run."),
    ],
)
def test_markdown(runs, said):
    shown = renderers.rendered(Series([of(cost) for cost in runs], []), "markdown")
    assert said in shown


def test_openmetrics():
    runs = [of(COST), of(replace(COST, ppm=31_000)), of(None)]
    shown = renderers.rendered(Series(runs, []), "openmetrics")
    assert "\nmmaplock_cost_ratio 0.031\n" in shown
    assert "\nmmaplock_events_per_second 40001.0\n" in shown
    assert "cost" not in renderers.rendered(Series([of(None)], []), "openmetrics")


@settings(deadline=None)
@given(costs())
def test_any_cost_is_said_in_every_format(cost):
    """A saved result comes from elsewhere: names of probes and the note are text from outside."""
    told = price.told(of(cost))
    assert told.isprintable()
    for name in set(renderers.FORMATS) - set(renderers.OF_SPANS):
        assert "\x1b" not in renderers.rendered(Series([of(cost)], []), name)


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([], "every lock followed"),
        ([Step(0, 1, None)], "every lock followed"),
        (
            [Step(0, 1, None), Step(500_000_000, 32, 9), Step(1_100_000_000, 1024, 9)],
            "every lock, 1 lock in 32 from 500 ms on, 1 lock in 1,024 from 1.10 s on followed",
        ),
    ],
)
def test_what_was_done_for_a_limit(steps, said):
    told = price.told(of(replace(COST, limit_ppm=20_000, steps=steps, note=NOTE)))
    assert told.endswith(f" events/s; at most 2.0 %: {said}; {NOTE}")
