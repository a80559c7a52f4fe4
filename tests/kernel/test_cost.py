"""What a run says it cost, against what is known: calls that were counted, books, processes.

Calls of sched_rr_get_interval(2) are counted, which nobody else makes.
"""

import functools
import json
import math
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from mmaplock_bt import workload
from mmaplock_bt.commands.tracing import trace
from mmaplock_bt.spec import profile
from mmaplock_bt.tracing import bpf_programs, listeners
from mmaplock_bt.tracing.bpf_programs import Programs
from mmaplock_bt.tracing.ending import Options
from mmaplock_bt.tracing.price import Price
from tests.kernel.processes import bpftrace_of
from tests.kernel.results import loaded

pytestmark = pytest.mark.kernel
CALLS = 1009
PROBE = "tracepoint:syscalls:sys_enter_sched_rr_get_interval"
SCRIPT = f"{PROBE} {{ @n = count(); }}\n"
TIMEOUT_S = 60
# The tool, with its statistics on as long as its window is open.
WHOLE = """
import functools
from mmaplock_bt import cli
from mmaplock_bt.tracing import listeners
listeners.Price = functools.partial(listeners.Price, whole=True)
cli.run_main()
"""


def call(times=CALLS):
    for _ in range(times):
        os.sched_rr_get_interval(0)


def counted_by(programs):
    """How many of CALLS calls the kernel counts now; some, where that begins or ends meanwhile."""
    (before,) = programs.figures().values()
    call()
    (now,) = programs.figures().values()
    return now.runs - before.runs


@pytest.fixture
def watched(kernel, tmp_path) -> Iterator[tuple[subprocess.Popen[str], Programs]]:
    """A bpftrace that counts the calls, and its one program."""
    if not Path("/sys/kernel/tracing/events/syscalls").exists():
        pytest.skip("this kernel has no tracepoints of system calls")
    (tmp_path / "calls.bt").write_text(SCRIPT)
    command = [kernel.path, "-f", "json", str(tmp_path / "calls.bt")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as it:
        try:
            yield it, attached(it)
        finally:
            it.kill()


def attached(running):
    statistics = bpf_programs.switch_statistics_on()
    deadline = time.monotonic() + TIMEOUT_S
    try:
        while time.monotonic() < deadline and running.poll() is None:
            programs = Programs(running.pid)
            if PROBE not in programs.probes(SCRIPT).values():
                continue
            if counted_by(programs) == CALLS:  # less, where it was attached meanwhile
                return programs
    finally:
        os.close(statistics)
    raise AssertionError("the probe was not live in time")


def test_runs_are_the_calls_that_were_made(watched, kernel):
    running, programs = watched
    script = SimpleNamespace(text=SCRIPT)
    tracer = SimpleNamespace(pid=running.pid, script=script, machine=kernel)
    one = Price(whole=True)
    one.begin(tracer)
    call()
    (spent,) = one.look(tracer, last=True)
    (probe,) = spent.cost.probes
    assert (probe.probe, probe.runs, probe.missed) == (PROBE, CALLS, 0)
    assert spent.cost.program_ns >= CALLS and spent.cost.bpftrace_ns is not None
    (every,) = programs.figures().values()  # statistics were on whenever calls were made
    running.send_signal(signal.SIGINT)
    out, _ = running.communicate(timeout=TIMEOUT_S)
    maps = [json.loads(line)["data"] for line in out.splitlines() if '"map"' in line]
    (counted,) = (found["@n"] for found in maps)
    assert counted == every.runs >= 2 * CALLS  # with those of `attached`


@pytest.fixture
def whole(monkeypatch):
    monkeypatch.setattr(listeners, "Price", functools.partial(Price, whole=True))


def test_runs_of_the_lock_probes_are_what_the_books_say(kernel, whole):
    """Near enough: the filter leaves out the tool's and bpftrace's own, and the window is open a
    little longer than it is looked at."""
    command = workload.command("munmaps", 10_007)
    chosen = profile.load("hold-times")
    result = trace(chosen, kernel, Options(command, system_wide=True, quiet=True)).result
    books = result.books
    runs = {one.probe.rpartition(":")[2]: one.runs for one in result.cost.probes}
    told = {name.partition("mmap_lock_")[2]: count for name, count in runs.items() if count}
    assert result.loss.complete and result.loss.missed_events == 0
    assert books.downgrades >= 10_007 and not result.cost.note
    for name, count in (
        ("acquire_returned", books.acquires),
        ("released", books.releases),
    ):
        assert 0.95 * count - 1000 <= told[name] <= 1.05 * count + 1000


def test_a_look_now_and_then_comes_near(kernel):
    """To what the books say, from a small part of the window, but several looks."""
    command = workload.command("mincores", 1_000_000)
    options = Options(command, system_wide=True, quiet=True)
    result = trace(profile.load("hold-times"), kernel, options).result
    if 2 * result.cost.looked_ns > result.cost.duration_ns:
        pytest.skip("kernel.bpf_stats_enabled is set: all of the window was looked at")
    (told,) = (one for one in result.cost.probes if one.probe.endswith("mmap_lock_released"))
    assert 0.6 < told.runs / result.books.releases < 1.6


def killed(run):
    pidfd = os.pidfd_open(bpftrace_of(run))
    run.kill()
    assert select.select([pidfd], [], [], TIMEOUT_S)[0], "bpftrace outlived the tool"
    os.close(pidfd)


def interrupted(run):
    run.send_signal(signal.SIGINT)


def ended(run):
    run.stdin.close()
    run.stdin = None


@pytest.mark.parametrize("end", [ended, interrupted, killed])
def test_statistics_are_off_again_however_a_run_ends(watched, end):
    if bpf_programs.are_statistics_on():
        pytest.skip("kernel.bpf_stats_enabled is set")
    _, programs = watched
    words = ["run", "hold-times", "-q", "--", "sh", "-c", "echo go >&2; read -r line"]
    with subprocess.Popen(
        [sys.executable, "-c", WHOLE, *words],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as run:  # fmt: skip
        line = run.stderr.readline()
        while line != "go\n":
            assert line, "the run ended before its command began"
            line = run.stderr.readline()
        assert counted_by(programs) == CALLS
        end(run)
        run.communicate(timeout=TIMEOUT_S)
    # Another run on this machine may look at its own programs for a moment.
    deadline = time.monotonic() + TIMEOUT_S
    while counted_by(programs):
        assert time.monotonic() < deadline, "the kernel goes on counting"


LOCKS = 300_000


def test_a_limit_is_kept_by_following_fewer_locks_or_nothing_is_traced(cli, kernel, tmp_path):
    """The command's lock calls alone are many times dearer than the limit. What is estimated of
    them lies within six standard errors of what is known."""
    saved = tmp_path / "r.json"
    done = cli("run", "hold-times", "--max-overhead", "5%", "-o", str(saved), "--mode", "read",
               "--", *workload.command("mincores", LOCKS))  # fmt: skip
    if done.returncode == 3:  # this machine is too busy for that limit
        assert "of the machine's CPU time" in done.stderr and "--max-overhead" in done.stderr
        assert not saved.exists() and "mincores" not in done.stdout + done.stderr
        return
    assert done.returncode == 0, done.stderr
    result = loaded(saved.read_text())
    rarest = max(step.sample for step in result.cost.steps)
    assert rarest > 1 and result.books.residue == 0 and result.cost.limit_ppm == 50_000
    if result.window.ended_by == "command":
        counted = sum(row["count"] for row in result.histogram("hold"))
        assert abs(counted - LOCKS) < 6 * math.sqrt(rarest * LOCKS) + 0.01 * LOCKS


def test_a_profile_that_cannot_be_sampled_is_refused_above_its_limit(cli, kernel):
    done = cli("run", "blame", "-d", "1s", "--max-overhead", "0.0001%")
    assert done.returncode == 3 and done.stdout == ""
    (line,) = [line for line in done.stderr.splitlines() if "mmaplock-bt: " in line]
    assert "this profile cannot follow a sample" in line


def test_an_ample_limit_traces_every_lock(cli, kernel, tmp_path):
    saved = tmp_path / "r.json"
    done = cli("run", "hold-times", "--max-overhead", "100%", "-o", str(saved), "--",
               *workload.command("munmaps", CALLS))  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = loaded(saved.read_text())
    assert [step.sample for step in result.cost.steps] == [1]
    assert result.books.downgrades >= CALLS
    counted = sum(row["count"] for row in result.histogram("hold"))
    assert counted == result.books.releases + result.books.downgrades
