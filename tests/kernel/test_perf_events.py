"""bpftrace's perf events on tracepoints: what they count nobody reads, and on CPU 0 it is dear."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mmaplock_bt import workload
from mmaplock_bt.machine import bpf_call
from mmaplock_bt.tracing import bpf_programs, perf_events
from tests.kernel.processes import begun, bpftrace_of
from tests.kernel.test_cost import CALLS, TIMEOUT_S, call, watched  # noqa: F401

pytestmark = [pytest.mark.kernel, pytest.mark.daily]
LOCKS = 1009


@contextmanager
def on_cpu_0() -> Iterator[None]:
    """libbpf and libbcc open their events there."""
    allowed = os.sched_getaffinity(0)
    if 0 not in allowed:
        pytest.skip("this may not run on CPU 0")
    os.sched_setaffinity(0, {0})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def counted(pid: int) -> list[int]:
    """What bpftrace's perf events on tracepoints counted so far."""
    process = os.pidfd_open(pid)
    found = []
    try:
        for descriptor in bpf_programs.of_kind("[perf_event]", pid):
            event = bpf_call.duplicate(process, descriptor)
            try:
                if perf_events._is_on_tracepoint(event):
                    found.append(int.from_bytes(os.read(event, 8), "little"))
            finally:
                os.close(event)
    finally:
        os.close(process)
    return found


def test_a_disabled_event_counts_no_more_and_its_program_runs_on(watched):  # noqa: F811
    running, programs = watched
    with on_cpu_0():
        (before,) = counted(running.pid)
        call()
        assert counted(running.pid) == [before + CALLS]
        assert perf_events.disable(running.pid) == 1
        statistics = bpf_programs.switch_statistics_on()
        try:
            (first,) = programs.figures().values()
            call()
            (then,) = programs.figures().values()
        finally:
            os.close(statistics)
        assert counted(running.pid) == [before + CALLS]
        assert then.runs - first.runs == CALLS


def test_another_reader_of_the_tracepoint_still_has_every_event(watched):  # noqa: F811
    running, _ = watched
    perf_events.disable(running.pid)
    code = f"import os; [os.sched_rr_get_interval(0) for _ in range({CALLS})]"
    event = "syscalls:sys_enter_sched_rr_get_interval"
    words = ["perf", "stat", "-x,", "-e", event, "python3", "-c", code]
    said = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    (line,) = (line for line in said.stderr.splitlines() if event in line)
    assert int(line.split(",")[0]) == CALLS


def test_no_event_of_a_window_counts(kernel):
    run = begun("hold-times", "-d", "60s")
    try:
        with on_cpu_0():
            before = counted(bpftrace_of(run))
            subprocess.run(workload.command("mincores", LOCKS), check=True, timeout=TIMEOUT_S)
            assert counted(bpftrace_of(run)) == before
    finally:
        run.terminate()
        run.communicate(timeout=TIMEOUT_S)
