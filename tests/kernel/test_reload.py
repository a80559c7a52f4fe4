"""From one bpftrace to the next: what is waited meanwhile is counted once, by one of them."""

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import pairwise

import pytest

from mmaplock_bt.agent.charging import Charging
from mmaplock_bt.agent.kernel_maps import Counts
from mmaplock_bt.agent.session import Session, profile
from mmaplock_bt.agent.top_names import TopNames
from mmaplock_bt.command_line import default_bpftrace
from mmaplock_bt.machine import inventory
from mmaplock_bt.script import check
from mmaplock_bt.spec.profile import Filter, Side
from tests.kernel.agents import Agent, running
from tests.kernel.parked import Child, heard, parked, tell

pytestmark = pytest.mark.kernel
# Waits of readers and of writers of one address space, some thousand in a second.
FLOOD = """
import os, sys, threading
from mmaplock_bt import workload
threads = [threading.Thread(target=workload.munmaps, args=(10**9, 8), daemon=True) for _ in "12"]
[thread.start() for thread in threads]
print("on", flush=True)
sys.stdin.readline()
os._exit(0)
"""
READER = """
import sys
names = [f"/proc/{sys.argv[1]}/{name}" for name in ("smaps_rollup", "environ", "cmdline")]
while True: [open(name, "rb").read() for name in names]
"""
REFERENCE = """
import sys
from tests.kernel.test_reload import reference
reference(int(sys.argv[1]))
"""
BLAMED = "mmaplock_blamed_wait_seconds_total"
COUNTERS = ("_total", "_count", "_sum", "_bucket")
OLDER_NS = 50 * 10**6  # than what else this machine does


def of_process(pid: int, meanwhile=None) -> Session:
    """A session that follows one address space only: what else happens is no difference then."""
    check.filters = lambda _: None
    chosen = replace(profile({}), filter=Filter(owner=Side(pid=pid)))
    return Session(
        chosen, inventory.probe(default_bpftrace()), Charging(TopNames([], 0)), meanwhile
    )


def reference(pid: int) -> None:
    """Counts all the while, in a process of its own; tells how many waits and holds."""
    with of_process(pid) as session:
        print("on", flush=True)
        sys.stdin.readline()
        counts = session.counted()[0]
        print(spans("wait", counts), spans("hold", counts), flush=True)


def spans(name: str, counts: Counts, least_ns: int = 0) -> int:
    return sum(n for key, n in counts.items() if key[0] == name and key[-1] >= least_ns)


@contextmanager
def ended(*processes: "Child[str]") -> Iterator[None]:
    try:
        yield
    finally:
        for one in processes:
            one.kill()
            one.communicate()


def script(code: str, *words: object) -> "Child[str]":
    """A Python process with this checkout's modules, that is spoken to."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_in_a_flood_every_wait_and_hold_is_counted_by_one(kernel, monkeypatch):
    monkeypatch.setattr(check, "filters", check.filters)
    flood = script(FLOOD)
    assert heard(flood) == "on"
    os.kill(flood.pid, signal.SIGSTOP)
    known, readers = script(REFERENCE, flood.pid), [script(READER, flood.pid) for _ in "123"]
    with ended(flood, known, *readers), ExitStack() as own:
        assert heard(known) == "on"
        session = own.enter_context(of_process(flood.pid))
        os.kill(flood.pid, signal.SIGCONT)
        total: Counts = Counter()
        for _ in range(3):
            with ExitStack() as fresh:
                new = fresh.enter_context(of_process(flood.pid, lambda: None))
                total += new.succeed(session)
                session.end(session.stop())
                own.close()
                own.push(fresh.pop_all())
                session = new
        os.kill(flood.pid, signal.SIGKILL)
        for one in (flood, *readers):
            one.wait()  # who was let in last may have had no CPU yet
        total += session.counted()[0]
        tell(known, "how many?")
        waits, holds = map(int, heard(known).split())
        known.wait()
    assert waits > 1000
    assert spans("wait", total) == waits
    # Whether somebody waits behind a hold each script sees for itself, at moments of its own.
    assert spans("hold", total) == pytest.approx(holds, rel=1e-3)


def _hung_up(agent: Agent, reloads: int) -> None:
    """Has it read its file anew so many times, and waits for each."""
    for _ in range(reloads):
        before = agent.value("mmaplock_reloads_total")
        agent.process.send_signal(signal.SIGHUP)
        agent.await_value("mmaplock_reloads_total", before + 1)


def _older(agent: Agent, kind: str, mode: str) -> float:
    """How many waits or holds were longer than whatever else this machine does."""
    name, older = f"mmaplock_{kind}_seconds", repr((2**25 - 1) / 1e9)
    whole = agent.value(f"{name}_count", mode=mode)
    return whole - agent.value(f"{name}_bucket", mode=mode, le=older)


def test_over_reloads_no_wait_is_lost_or_counted_twice(kernel, tmp_path):
    """Of those that begin before a bpftrace and end after the next one, too."""
    names = ["write", "read", "read", "write", "read"]
    with running() as agent, parked(tmp_path, *names) as park:
        told = [agent.samples()]
        threading.Thread(target=_hung_up, args=(agent, 4), daemon=True).start()
        rounds = 0
        while agent.value("mmaplock_reloads_total") < 4 or rounds < 23:
            with park.held():
                park.queue()
                park.pause(OLDER_NS)
                if rounds == 7:  # these are waiting while all of it goes on
                    while agent.value("mmaplock_reloads_total") < 4:
                        told.append(agent.samples())
            for worker in park.workers:
                worker.finish()
            told.append(agent.samples())
            rounds += 1
        blamed = agent.settled(BLAMED, culprit="holder")
        assert _older(agent, "wait", "write") == 2 * rounds
        assert _older(agent, "wait", "read") == 3 * rounds
        assert _older(agent, "hold", "read") == rounds
        assert agent.value("mmaplock_lost_events_total") == 0
        assert agent.value("mmaplock_books_residue") == 0
        for before, after in pairwise(told):
            assert after["mmaplock_up", frozenset()] == 1
            for key, value in before.items():
                assert after[key] >= value or not key[0].endswith(COUNTERS), key
    assert blamed >= rounds * len(names) * OLDER_NS / 1e9 * 0.99
