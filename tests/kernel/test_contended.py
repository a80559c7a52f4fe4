"""The engine that follows only contended locks, beside the one that follows all of them."""

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from mmaplock_bt import workload
from tests.kernel.parked import child, heard, parked, tell, until
from tests.kernel.processes import begun
from tests.kernel.results import loaded
from tests.limits import STARTS_AT_ONCE

pytestmark = pytest.mark.kernel
MS = 1_000_000
ENGINES = ("contended", "all")


@pytest.fixture(autouse=True)
def both(kernel):
    """Only where there are two engines: Linux 5.19 and a rwsem that can be read."""
    wanted = ("contention", "mmap_lock_offset", "rwsem_owner")
    if not all(kernel.facts[name] for name in wanted):
        pytest.skip("contended locks cannot be followed here")


def opened(profile, *words, engines=ENGINES):
    """A run of the profile for each engine; their windows are open at once."""

    def start(engine):
        return begun(profile, "--locks", engine, "--format", "json", *words)

    with ThreadPoolExecutor(STARTS_AT_ONCE) as pool:
        return list(pool.map(start, engines))


def ended(runs):
    """Their results; the windows are closed one after the other."""
    for run in runs:
        run.send_signal(signal.SIGINT)
    return [result_of(run) for run in runs]


def result_of(run):
    out, err = run.communicate(timeout=120)
    assert run.returncode == 0, err
    return loaded(out)


def balanced(result):
    books = result.books
    assert books.starts == books.acquires + books.failed + books.open_waits
    assert books.residue == 0 and books.open_holds is None
    return result.loss.complete


@contextmanager
def contentions(folder):
    """perf beside it: yields a function that returns the begun waits by the lock's address."""
    control, answer, data = (folder / name for name in ("control", "answer", "perf.data"))
    os.mkfifo(control)
    os.mkfifo(answer)
    perf = subprocess.Popen(
        ["perf", "record", "-a", "-q", "-D", "-1", "--control", f"fifo:{control},{answer}",
         "-e", "lock:contention_begin", "--filter", "flags==2||flags==4", "-o", str(data)],
    )  # fmt: skip

    def counted():
        perf.send_signal(signal.SIGINT)
        perf.wait(timeout=60)
        fields = ["perf", "script", "-i", str(data), "-F", "event,trace"]
        done = subprocess.run(fields, capture_output=True, text=True, check=True)
        return Counter(re.findall(r"contention_begin:\s+(?:0x)?(\w+) \(flags", done.stdout))

    with control.open("w") as told, answer.open() as said:
        told.write("enable\n")
        told.flush()
        assert said.readline() == "ack\n"
        yield counted


def crowd(park, rounds, ns):
    """All workers wait behind the holder, for at least so long."""
    for _ in range(rounds):
        with park.held():
            park.queue()
            park.pause(ns)
        for worker in park.workers:
            worker.finish()


def waits_of(result, tids):
    """Without a thread that was long in getting a lock that nobody had: it had no CPU."""
    found = defaultdict(list)
    for row in result.outputs["waits"].rows:
        if row["tid"] in tids and row.get("contended") != 0:
            found[row["tid"], row["comm"], row["mode"]].append(row["wait_ns"])
    return found


def test_a_crowd_behind_a_holder_is_seen_as_the_full_engine_sees_it(tmp_path, kernel):
    names = "write", "read", "unmap", "read", "write"
    with parked(tmp_path, *names, foreign=2) as park, contentions(tmp_path) as counted:
        runs = opened("blame", "-p", str(park.pid))
        crowd(park, 7, 20 * MS)
        killed, stays = park.workers[-1], park.workers[0]
        with park.held():
            park.queue(stays, killed)
            killed.process.kill()
            killed.process.wait()
            some, every = ended(runs)
        begins = counted()
    assert balanced(some) and some.books.failed == every.books.failed == 1
    assert some.books.open_waits == every.books.open_waits == 1
    assert some.books.releases > 0 and every.books.open_holds == 1
    (mm,) = {row["mm"] for row in some.outputs["waits"].rows}
    assert some.books.starts == begins[lock_of(mm, kernel)]
    assert_alike(some, every, {worker.tid for worker in park.workers})
    for result in (some, every):
        (held,) = [r for r in result.outputs["still_open"].rows if r["state"] != "wait"]
        assert held["tid"] == park.holder.pid and "mem_rw" in str(held["current_stack"])


def lock_of(mm, kernel):
    return f"{int(mm, 16) + int(kernel.facts['mmap_lock_offset']):x}"


# In the full engine a wait begins before its thread queues and ends after it has left the queue: 30
# to 140 us more on a loaded machine, so one near the threshold (1 ms) may be over it there only.
NEAR_NS = 2 * MS


def assert_alike(some, every, tids):
    """The same waits, nearly as long, charged to the same holds."""
    found, wanted = (waits_of(result, tids) for result in (some, every))
    assert found.keys() <= wanted.keys()
    assert sum(map(len, found.values())) >= 7 * 7
    for key, ns in wanted.items():
        ours, theirs = (sorted(waits, reverse=True) for waits in (found[key], ns))
        assert len(ours) <= len(theirs)
        assert all(wait < NEAR_NS for wait in theirs[len(ours) :]), (key, ours, theirs)
        assert sum(ours) == pytest.approx(sum(theirs[: len(ours)]), rel=0.02), key
    ours, theirs = charged(some), charged(every)
    assert ours.keys() == theirs.keys()
    for culprit, ns in theirs.items():
        assert ours[culprit] == pytest.approx(ns, abs=0.005 * sum(theirs.values())), culprit


def charged(result, least=0.01):
    """Ended waits by whose hold they are charged to: process, name, owner, code. In ns."""
    rows = [row for row in result.outputs["charges"].rows if row["kernel_stack"]]
    found = Counter()
    for row in rows:
        stack = tuple(frame.split("+")[0] for frame in row["kernel_stack"])
        who = (row[name] for name in ("pid", "comm", "owner_pid", "owner_comm", "cause"))
        found[*who, stack] += row["charged_ns"]
    total = sum(found.values())
    return {who: ns for who, ns in found.items() if ns >= least * total}


def waits_behind(result, holder, victim):
    """Waits for the victim's lock that are due to the holder for the better part, in ns.

    A thread that gets no CPU while it asks for a free lock waits, too: behind nobody.
    """
    behind = Counter()
    for row in result.outputs["charges"].rows:
        if row["pid"] == holder:
            behind[row["victim_tid"], row["time_ns"]] += row["charged_ns"]
    waits = [row for row in result.outputs["waits"].rows if row["owner_pid"] == victim]
    return [
        row["wait_ns"] for row in waits if 2 * behind[row["tid"], row["time_ns"]] >= row["wait_ns"]
    ]


def told(*words):
    """What a workload says of itself, once it has run."""
    argv = workload.command(*words)
    return json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)


def test_of_the_waits_of_a_millisecond_nearly_all_are_found():
    runs = opened("blame")
    said = [told("smaps", 7, 1024), told("convoy", 5, 1024)]
    some, every = ended(runs)
    assert balanced(some)
    for one in said:
        found, wanted = (waits_behind(r, one["reader"], one["pid"]) for r in (some, every))
        assert wanted and len(found) >= 0.95 * len(wanted) - some.books.spinning
        assert sum(found) >= 0.95 * sum(wanted)
        ours, theirs = (sum(charged_to(r, one["reader"])) for r in (some, every))
        # A hold that overtakes a waiter counts from the release before it: charges shift a little.
        assert ours == pytest.approx(theirs, rel=0.06)


def charged_to(result, pid):
    return [row["charged_ns"] for row in result.outputs["charges"].rows if row["pid"] == pid]


SPINNER = """
import ctypes, mmap, sys, threading
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.madvise.argtypes = libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
size = 16 << 20
big, own = (libc.mmap(None, n, 3, 0x22, -1, 0) for n in (size, 4096))
libc.madvise(big, size, 15)
ctypes.memset(big, 1, size)
going = True
def spins():
    turn = 0
    while going:
        turn ^= 1
        libc.madvise(own, 4096, 14 + turn)
print("up", flush=True)
sys.stdin.readline()
other = threading.Thread(target=spins)
other.start()
for turn in range(int(sys.argv[1])):
    libc.mprotect(big, size, 1 if turn % 2 else 3)
going = False
other.join()
print("done", flush=True)
sys.stdin.read()
"""


def test_a_writer_that_spins_is_counted_where_its_wait_is_not_seen():
    process = child(SPINNER, 499)
    assert heard(process) == "up"
    runs = opened("blame", "-p", str(process.pid), "--set", "threshold=100us")
    tell(process, "go")
    assert heard(process) == "done"
    some, every = ended(runs)
    process.communicate("")
    found, wanted = (waits_behind(r, process.pid, process.pid) for r in (some, every))
    missing = len(wanted) - len(found)
    assert 0 < missing <= some.books.spinning + 0.05 * len(wanted)
    assert balanced(some)


def test_nothing_is_seen_where_nobody_waits(traced):
    result = traced("blame", "--locks", "contended", "--", *workload.command("mincores", 1009))
    books = result.books
    assert (books.starts, books.acquires, books.failed, books.open_waits) == (0, 0, 0, 0)
    assert (books.releases, books.residue) == (0, 0) and result.loss.complete
    assert not any(output.rows for output in result.outputs.values())


def test_a_hold_is_no_longer_for_a_wait_that_began_before_the_window(tmp_path):
    """Its end is the end of a queue, too: the next hold counts from its own waiters on."""
    with parked(tmp_path, "write", "write", foreign=1) as park:
        first, second, reader = park.workers
        park.take()
        park.queue(first)
        runs = opened("blame", "-p", str(park.pid))
        park.queue(reader)
        reader.process.kill()
        reader.process.wait()
        park.let_go()
        first.finish()
        park.pause(100 * MS)
        with park.held():
            park.queue(second)
            park.pause(20 * MS)
        second.finish()
        some, every = ended(runs)
    ours, theirs = (
        max((r["time_ns"], r["hold_ns"]) for r in rows if r["pid"] == park.holder.pid)[1]
        for rows in (some.outputs["holds"].rows, every.outputs["holds"].rows)
    )
    assert 20 * MS <= ours <= theirs + MS
    assert balanced(some) and some.books.failed == 1


def test_who_holds_up_others_is_told_while_it_lasts_and_who_holds_up_nobody_is_not(tmp_path):
    words = ("--set", "limit=100ms", "--set", "poll=20ms", "-d", "30s")
    with parked(tmp_path, "write") as park:
        (run,) = opened("stuck-locks", *words, "-p", str(park.pid), engines=["contended"])
        with park.held():
            park.pause(300 * MS)
        with park.held():
            park.queue()
            wanted = rf"read hold .*by holder\[{park.holder.pid}\] thread {park.holder.pid} on"
            told_of = [line for line in told_until_a_hold(run) if "open for" in line]
            assert told_of and re.search(wanted, told_of[-1]), told_of
        park.workers[0].finish()
        (result,) = ended([run])
    rows = result.outputs["stuck"].rows
    held = [row for row in rows if row["state"] != "wait"]
    assert [(r["tid"], r["pid"], r["comm"], r["mode"]) for r in held] == [
        (park.holder.pid, park.holder.pid, "holder", "read")
    ]
    assert "mem_rw" in str(held[0]["current_stack"]) and held[0]["ended"] == "yes"
    assert {row["tid"] for row in rows if row["state"] == "wait"} == {park.workers[0].tid}
    (long,) = result.outputs["long_holds"].rows
    assert long["tid"] == park.holder.pid and "mem_rw" in str(long["kernel_stack"])


def test_a_hold_that_ended_unseen_hides_no_later_holder(tmp_path):
    """Its downgrade let in whoever had queued: nobody was there when it let go."""
    with parked(tmp_path, "drop", "read", "write") as park:
        drop, read, write = park.workers
        runs = opened("blame", "-p", str(park.pid))
        with park.held():
            park.queue(drop, read)
        drop.finish()
        read.finish()
        with park.held():
            park.queue(write)
            park.pause(20 * MS)
            results = ended(runs)
    for result in results:
        (held,) = [row for row in result.outputs["still_open"].rows if row["state"] != "wait"]
        assert (held["tid"], held["mode"]) == (park.holder.pid, "read")


def test_a_reader_behind_a_queued_writer_finds_who_held_the_lock_before(tmp_path):
    """All was on before the window; the reader that comes does not wait for a writer's hold."""
    with parked(tmp_path, "write", "read") as park:
        writer, reader = park.workers
        park.take()
        park.queue(writer)
        runs = opened("blame", "-p", str(park.pid))
        park.queue(reader)
        park.pause(20 * MS)
        results = ended(runs)
        park.let_go()
    for result in results:
        (held,) = [row for row in result.outputs["still_open"].rows if row["state"] != "wait"]
        who = tuple(held[name] for name in ("tid", "comm", "mode", "certainty"))
        assert who == (park.holder.pid, "holder", "read", "likely")
        assert "mem_rw" in str(held["current_stack"])
        (charged,) = [row for row in result.outputs["blame"].rows if row["sum"] >= 20 * MS]
        assert charged["key"]["pid"] == park.holder.pid


def test_a_hang_that_nobody_new_comes_to_is_seen_in_proc(tmp_path):
    with parked(tmp_path, "write", "read") as park:
        writer, reader = park.workers
        park.take()
        park.queue(writer, reader)
        (run,) = opened("overview", "-p", str(park.pid), engines=["contended"])
        (result,) = ended([run])
        park.let_go()
    assert not result.findings and result.books.starts == 0
    asleep = {one.tid: (one.role, one.cause, one.pid) for one in result.looks}
    expected = {
        writer.tid: ("waits", "madvise", park.pid),
        reader.tid: ("waits", "mincore", park.pid),
        park.holder.pid: ("may hold", "cmdline/environ/mem", park.holder.pid),
    }
    # Whoever reads the frozen process's cmdline meanwhile, any `ps`, is stuck as well.
    assert asleep.items() >= expected.items()
    assert {role for role, _, pid in asleep.values() if pid != park.holder.pid} == {"waits"}


def told_until_a_hold(run):
    """What it says until it says that a hold is open; it ends by itself where that never comes."""
    for line in run.stderr:
        yield line
        if "open for" in line and " hold " in line:
            return


def test_overtakers_are_as_many_as_the_full_engine_counts():
    """Readers and writers together: what downgrades lets go as a reader, and is one here.

    The full engine's figure is a lower bound where a second writer waits.
    """
    runs = opened("writer-starvation")
    owner = told("convoy", 7, 1024)["pid"]
    some, every = (
        [row for row in result.outputs["starved_writers"].rows if row["owner_pid"] == owner]
        for result in ended(runs)
    )
    found = pairs(some, every)
    met = [tuple(r["overtakes"] + r["writers_before"] for r in pair) for pair in found]
    assert len(met) >= 0.9 * len(some) and max(theirs for _, theirs in met) > 0
    assert all(
        ours >= 0.95 * theirs - READERS - before_it_queued(pair)
        for (ours, theirs), pair in zip(met, found, strict=True)
    ), met
    alike = [
        ours == pytest.approx(theirs, rel=0.05, abs=READERS + before_it_queued(pair))
        for (ours, theirs), pair in zip(met, found, strict=True)
    ]
    assert sum(alike) >= 0.8 * len(met), met


READERS = 4  # of a convoy; those that queued before the writer let go as those that overtook it


def before_it_queued(pair):
    """How many may overtake a writer that has asked and not queued; the full engine counts them.

    That takes 30 to 200 us, and a read under two tracers 2 us at least.
    """
    ours, theirs = pair
    return max(0, theirs["wait_ns"] - ours["wait_ns"]) // 2000


def pairs(some, every):
    """Rows of both engines about the same wait: their windows opened at different times."""
    longest, other = (max(rows, key=lambda row: row["wait_ns"]) for rows in (some, every))
    apart_ns = other["time_ns"] - longest["time_ns"]
    return [
        (row, other)
        for row in some
        for other in every
        if row["tid"] == other["tid"] and abs(other["time_ns"] - row["time_ns"] - apart_ns) < MS
    ]


def test_the_trap_springs_at_a_wait_and_at_a_hold(tmp_path):
    with parked(tmp_path, "write") as park:
        traps = {
            kind: armed(tmp_path / kind, f"{kind} > 150ms", park.pid) for kind in ("wait", "hold")
        }
        until(lambda: sprung(park, *(tmp_path / kind for kind in traps)), "both spring")
        for kind, trap in traps.items():
            _, err = trap.communicate(timeout=60)
            assert trap.returncode == 0, err
            (place,) = (tmp_path / kind).iterdir()
            assert kind in (place / "reason.txt").read_text()
            before = loaded((place / "before.json").read_text())
            assert before.profile.locks == "contended"
            assert park.pid in {row["owner_pid"] for row in before.outputs["stuck"].rows}
            assert loaded((place / "result.json").read_text()).profile.name == "blame"


def armed(folder, limit, pid):
    return subprocess.Popen(
        [sys.executable, "-m", "mmaplock_bt", "run", "blame", "-p", str(pid), "-d", "60s",
         "--locks", "contended", "--trap", limit, "--trap-dir", str(folder),
         "--capture", "300ms", "--captures", "1"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def sprung(park, *folders):
    """Holds the lock for a while, with somebody waiting; whether all traps have sprung by then."""
    with park.held():
        park.queue()
        park.pause(400 * MS)
    park.workers[0].finish()
    return all(folder.is_dir() and list(folder.glob("*/before.json")) for folder in folders)


# Children one after the other, on one CPU: the memory of one's mm and task serves the next. What is
# freed by RCU is free when membarrier(2) has waited for it a few times.
FIGHTERS = """
import ctypes, os, sys, threading
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
def fight():
    for _ in range(6):
        libc.munmap(libc.mmap(None, 1 << 22, 3, 0x8022, -1, 0), 1 << 22)
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
print("up", flush=True)
for _ in sys.stdin:
    pid = os.fork()
    if pid == 0:
        other = threading.Thread(target=fight)
        other.start()
        fight()
        other.join()
        os._exit(0)
    os.waitpid(pid, 0)
    for _ in range(3):
        libc.syscall(324, 1, 0, 0)
    print(pid, flush=True)
"""
TURNS = 53


def test_a_verdict_does_not_outlive_the_process_that_it_is_about(kernel):
    """A child of the family that is asked for, one of another, in turn; no teardown is seen."""
    families = [child(FIGHTERS), child(FIGHTERS)]
    assert [heard(family) for family in families] == ["up", "up"]
    mine, others = families
    words = ("--set", "threshold=0", "-p", str(mine.pid), "--descendants")
    runs = opened("blame", *words, engines=["contended"])
    pids = {family.pid: set() for family in families}
    for _ in range(TURNS):
        for family in families:
            tell(family, "go")
            pids[family.pid].add(int(heard(family)))
    (result,) = ended(runs)
    for family in families:
        family.communicate("")
    waits = result.outputs["waits"].rows
    owners = {wait["owner_pid"] for wait in waits}
    assert len(owners & pids[mine.pid]) > TURNS // 2, "most have waited"
    assert len({wait["mm"] for wait in waits}) < TURNS // 2, "memory was used again"
    assert not owners & pids[others.pid]
