"""The agent on the running kernel: known answers, deaths of bpftrace, churn of processes."""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from mmaplock_bt import workload
from mmaplock_bt.agent.charging import Charging
from mmaplock_bt.agent.session import Session, profile
from mmaplock_bt.agent.top_names import TopNames
from mmaplock_bt.machine import cgroups
from tests.kernel.agents import NAMED, ROOMY, Agent, Samples, running
from tests.kernel.processes import bpftrace_of
from tests.kernel.results import loaded

pytestmark = pytest.mark.kernel
BLAMED = "mmaplock_blamed_wait_seconds_total"
READER = {"culprit": "smaps-reader", "cause": "smaps/maps/numa_maps"}
CHURN = (
    "import os\nfor _ in range({}):\n    os.waitpid(os.posix_spawn('/bin/true', ['true'], {{}}), 0)"
)
COUNTERS = ("_total", "_count", "_sum", "_bucket")


def _stalled() -> float:
    """Stalls for 300 ms, by a reader of smaps; returns what it was by the clock, in s."""
    done = subprocess.run(workload.command("stalled", 300, 2048), capture_output=True, check=True)
    return json.loads(done.stdout)["stalled_ns"] / 1e9


def _of(samples: Samples, name: str, labels: dict[str, str]) -> float:
    return sum(v for (n, has), v in samples.items() if n == name and labels.items() <= set(has))


def _named(tmp_path, *lines: str) -> str:
    config = tmp_path / "agent.yaml"
    text = "\n".join([NAMED if "limits:" in lines else ROOMY, *lines, ""])
    config.write_text(text)
    config.chmod(0o600)
    return str(config)


def _blamed_stall(agent: Agent) -> float:
    """A stall of which within 10 % is blamed on the reader; returns what was blamed.

    A CPU that the machine below takes away may be in one clock's figure and not in the other's: one
    of three stalls must be undisturbed.
    """
    seen = []
    for _ in range(3):
        before = agent.value(BLAMED, **READER)
        stalled = _stalled()
        with suppress(AssertionError):
            agent.await_value(BLAMED, before + stalled * 0.9, turns=150, mode="write", **READER)
        seen.append((stalled, agent.settled(BLAMED, **READER) - before))
        if stalled * 0.9 <= seen[-1][1] <= stalled * 1.1:
            return seen[-1][1]
    raise AssertionError(f"stalled and blamed, in s: {seen}; {agent.said}")


@pytest.mark.daily
def test_a_stall_is_blamed_on_the_reader(kernel, tmp_path):
    with running(_named(tmp_path)) as agent:
        assert agent.value(BLAMED, **READER) == 0
        waits = agent.value("mmaplock_wait_seconds_sum")
        blamed = _blamed_stall(agent)
        assert agent.value("mmaplock_wait_seconds_sum") - waits >= blamed
        assert agent.value("mmaplock_lost_events_total") == 0
        assert agent.get("/readyz") == "all probes are attached\n"
        assert "ago" in agent.get("/healthz")


CGROUP = "/mmaplock-bt-agents-test"


@contextmanager
def _cgroup() -> Iterator[Path]:
    """A memory cgroup that is there for a while; when it is left nobody is in it any more."""
    root = cgroups.hierarchy()
    if root is None:
        pytest.skip("no cgroups here")
    place = root / CGROUP[1:]
    place.mkdir()
    try:
        yield place
    finally:
        place.rmdir()


def test_a_cgroup_that_is_removed_and_made_again_is_one_label(kernel, tmp_path):
    into = ["sh", "-c", 'echo $$ > "$0"/cgroup.procs; exec "$@"']
    stall = workload.command("stalled", 300, 2048)
    with running(_named(tmp_path, f"cgroups: [{CGROUP}]")) as agent:
        for turn in (1, 2):
            before = agent.value(BLAMED, cgroup=CGROUP)
            with _cgroup() as place:
                subprocess.run([*into, str(place), *stall], capture_output=True, check=True)
                agent.await_value(BLAMED, before + 0.1, cgroup=CGROUP)
            assert before > 0 or turn == 1
        _stalled()
        agent.await_value(BLAMED, 0.1, cgroup="other", **READER)
        told = {dict(has)["cgroup"] for name, has in agent.samples() if name == BLAMED}
        assert told == {CGROUP, "other"}
        assert any(f"there is no memory cgroup {CGROUP}" in line for line in agent.first)


def test_counters_go_on_from_where_a_killed_bpftrace_was(kernel, tmp_path):
    with running(_named(tmp_path)) as agent:
        _blamed_stall(agent)
        before = agent.samples()
        os.kill(bpftrace_of(agent.process), signal.SIGKILL)
        # From here on it tells nothing of locks, or of a bpftrace that traces.
        while (seen := agent.samples())["mmaplock_restarts_total", frozenset()] == 0:
            up = seen["mmaplock_up", frozenset()]
            told = any(name.startswith("mmaplock_wait") for name, _ in seen)
            assert told == (up == 1.0)
        agent.await_value("mmaplock_up", 1)
        after = agent.samples()
        for key, value in before.items():
            if key[0].endswith(COUNTERS):
                assert after[key] >= value, key
        known = _of(before, BLAMED, READER)
        # What came since is nothing of the reader's: else it was counted twice.
        assert known <= _of(after, BLAMED, READER) <= known * 1.01
        _blamed_stall(agent)
    assert any("bpftrace ended by itself" in line for line in agent.said)


def test_ten_thousand_processes_leave_nothing(kernel, tmp_path):
    """Neither a series nor, once it was swept, an entry of the kernel's maps."""
    lengths = {"threshold": 10**6, "behind": 100_000}
    with Session(profile(lengths), kernel, Charging(TopNames([], 10))) as session:
        with running() as agent:
            series = len(agent.samples())
            subprocess.run([sys.executable, "-c", CHURN.format(10_000)], check=True)
            names = {name for name, _ in agent.samples()}
            labels = {key for _, has in agent.samples() for key, _ in has}
            assert len(agent.samples()) - series < 100
            assert labels <= {"mode", "cause", "culprit", "le", "reason", "process", "version",
                              "bpftrace", "kernel", "locks"}  # fmt: skip
            assert "mmaplock_map_full_total" in names
            assert agent.value("mmaplock_map_full_total") == 0
        session.sweep()
        session.sweep()
        keys = session.maps.keys()
        assert all(keys[name] < 100 for name in ("waiting", "holding", "blocked", "ready")), keys


def test_what_a_missed_event_left_is_swept(kernel):
    """A wait of a thread that is gone, and what belongs to it; not one that lasts."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    with Session(profile({}), kernel, Charging(TopNames([], 0))) as session:
        maps = session.maps
        before = maps.open().wait_ns
        maps._spans["waiting"].put((gone.pid, 0x1000), 4)
        maps._spans["blocked"].put((0x1000,), 1)
        assert maps.open().wait_ns > before and maps.open().hold_ns > before
        assert session.sweep() == 0
        assert session.sweep() >= 1
        session.sweep()
        assert session.sweep() >= 0
        assert (gone.pid, 0x1000) not in maps._spans["waiting"].items()
        assert (0x1000,) not in maps._spans["blocked"].items()


def test_over_budget_it_detaches_and_says_so(kernel, tmp_path):
    config = _named(tmp_path, "limits:", "  memory: 64MiB", "pause:", "  first: 1s")
    with running(config) as agent:
        agent.await_value("mmaplock_down", 1, reason="memory")
        down = agent.samples()
        assert down["mmaplock_up", frozenset()] == 0
        assert not any(name.startswith("mmaplock_wait") for name, _ in down)
        with pytest.raises(urllib.error.HTTPError) as refused:
            agent.get("/readyz")
        assert refused.value.code == 503 and b"memory" in refused.value.read()
        assert "nothing is traced" in agent.get("/healthz"), "a rest that ends is no illness"
        agent.await_value("mmaplock_restarts_total", 1)


def test_where_too_much_is_recorded_only_longer_ones_are(kernel, tmp_path):
    with running(_named(tmp_path, "limits:", "  events: 1")) as agent:
        for _ in range(20):
            if agent.value("mmaplock_floor_seconds") > 0.001:
                break
            _stalled()
        assert agent.value("mmaplock_floor_seconds") in (0.004, 0.016, 0.064)
        assert agent.value("mmaplock_up") == 1
    assert any("and more are recorded" in line for line in agent.said)


def test_a_stall_is_captured_with_the_readers_stack(kernel, tmp_path):
    folder = tmp_path / "captures"
    trap = ("trap:", f"  folder: {folder}", "  wait: 5ms", "  length: 1s", "  pause: 24h")
    with running(_named(tmp_path, *trap)) as agent:
        stalling = subprocess.Popen(
            workload.command("smaps", 10**6, 1024), stdout=subprocess.DEVNULL
        )
        try:
            agent.await_value("mmaplock_captures_total", 1)
        finally:
            stalling.kill()
        told = agent.get("/metrics", "application/openmetrics-text")
    (capture,) = folder.iterdir()
    assert f'# {{capture="{capture.name}"}}' in told
    assert "lasted" in (capture / "reason.txt").read_text()
    result = loaded((capture / "result.json").read_text())
    stacks = {str(row["key"]["kernel_stack"]) for row in result.table("blame")}
    assert any("show_smaps_rollup" in stack for stack in stacks)


def test_the_textfile_says_at_the_end_that_nothing_is_traced(kernel, tmp_path):
    place = tmp_path / "mmaplock.prom"
    with running(_named(tmp_path, "textfile:", f"  path: {place}", "  every: 100ms")) as agent:
        agent.await_value("mmaplock_up", 1)
        while "mmaplock_wait_seconds_count" not in (text := place.read_text()):
            agent.get("/healthz")
        assert "mmaplock_up 1.0\n" in text
    text = place.read_text()
    assert "mmaplock_up 0.0\n" in text and "mmaplock_wait_seconds_count" not in text
    assert 'mmaplock_down{reason="ending"} 1.0\n' in text


def test_a_folder_that_cannot_be_written_is_told_at_once(kernel, cli, tmp_path):
    (tmp_path / "taken").write_text("")
    config = _named(tmp_path, "trap:", f"  folder: {tmp_path}/taken")
    done = cli("agent", config, "--listen", "127.0.0.1:0")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "cannot make the folder" in done.stderr


def test_a_port_that_is_taken(kernel, cli):
    with running() as agent:
        done = cli("agent", "--listen", agent.url.removeprefix("http://"))
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1 and "Address already in use" in done.stderr


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if subprocess.run(words, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_fills_is_told_and_tracing_goes_on(kernel, tmp_path, small_disk):
    file = small_disk / "mmaplock.prom"
    lines = ("textfile:", f"  path: {file}", "  every: 100ms", "trap:")
    lines += (f"  folder: {small_disk}/captures", "  wait: 5ms", "  length: 1s", "  pause: 1s")
    with running(_named(tmp_path, *lines)) as agent:
        filler = small_disk / "filler"
        with suppress(OSError):
            filler.write_bytes(bytes(1 << 20))
        for _ in range(5):
            _stalled()
            if any("capture" in line for line in agent.said):
                break
        agent.settled("mmaplock_captures_total")
        told = [line for line in agent.said if f"{file} is not written: " in line]
        assert len(told) == 1 and "No space left on device" in told[0]
        assert any("cannot capture it" in line or "failed (" in line for line in agent.said)
        assert agent.value("mmaplock_up") == 1
        assert agent.value("mmaplock_restarts_total") == agent.value("mmaplock_captures_total") == 0
        filler.unlink()
        before = file.read_text() if file.exists() else ""
        while not file.exists() or file.read_text() == before:
            agent.get("/healthz")


ROUNDS, MOST_ROUNDS = 15, 45
NOISE = 1.05  # of the least of some rounds, on a machine that others use


def test_scrapes_at_10_hz_are_nothing_to_who_takes_locks(kernel):
    """In turns: what a lock costs while somebody scrapes, and while nobody does.

    Others on the machine make a round dearer, never cheaper: what the scrapes cost stays however
    many rounds there are.
    """
    over = threading.Event()
    going = threading.Event()

    def scrape(agent: Agent) -> None:
        while not over.is_set():
            going.wait()
            agent.get("/metrics")
            over.wait(0.1)

    with running() as agent:
        thread = threading.Thread(target=scrape, args=(agent,))
        thread.start()
        least = {True: float("inf"), False: float("inf")}
        for turn in range(2 * MOST_ROUNDS):
            (going.set if turn % 2 else going.clear)()
            least[bool(turn % 2)] = min(least[bool(turn % 2)], _mincores_s())
            if turn >= 2 * ROUNDS - 1 and least[True] < least[False] * NOISE:
                break
        over.set()
        going.set()
        thread.join()
    assert least[True] < least[False] * NOISE, least


def _mincores_s() -> float:
    """Its CPU time: how long it waits for a CPU says nothing."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(workload.command("mincores", 300_000), stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
