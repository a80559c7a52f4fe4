"""Who a process is, and whose lock it takes: threads with names, vfork, fork, exec, exit."""

import os
import platform
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mmaplock_bt.commands.selftest import forked
from tests.kernel.parked import child, heard, parked, tell, until
from tests.kernel.test_filters import ended, opened

pytestmark = pytest.mark.kernel
SLACK = 60  # locks that an interpreter takes beside what it is told to take
SYS_EXIT = {"x86_64": 60, "aarch64": 93}

PAIRS = """\
{#
question: Who takes whose lock?
outputs:
  pairs: {kind: table, title: Holds, unit: ns, keys: [mode, pid, owner_pid, owner_kind]}
#}
{% extends "_mmap_lock.bt.j2" %}
{% block hold_ended %}
{{ record("pairs", "$hold_ns") }}
{% endblock %}
"""

# Told over its pipe which of its threads is to take how many read locks, or that its leader is to
# go. The helper listens: it is still there then.
DAEMON = """
import ctypes, os, queue, sys, threading
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
page, vector = libc.mmap(None, 4096, 3, 0x22, -1, 0), ctypes.create_string_buffer(1)
told, done = queue.SimpleQueue(), queue.SimpleQueue()
def named(name):
    with open(f"/proc/self/task/{threading.get_native_id()}/comm", "w") as comm:
        comm.write(name)
def lock(count):
    for _ in range(count):
        libc.mincore(page, 4096, vector)
def helps():
    named("helper")
    print("up", flush=True)
    for line in sys.stdin:
        who, count = line.split()
        if who == "helper":
            lock(int(count))
        else:
            told.put(int(count))
            done.get()
        print("done", flush=True)
    os._exit(0)
named("mydaemon")
threading.Thread(target=helps).start()
while count := told.get():
    lock(count)
    done.put(None)
done.put(None)
libc.syscall(int(sys.argv[1]), 0)  # this thread, and no other
"""


@pytest.fixture
def daemon():
    process = child(DAEMON, SYS_EXIT[platform.machine()])
    assert heard(process) == "up"
    yield process
    process.kill()
    process.communicate()


def does(process, who, count):
    tell(process, f"{who} {count}")
    assert heard(process) == "done"


@pytest.fixture
def pairs(tmp_path):
    """A profile whose keys name actor and owner."""
    (tmp_path / "pairs.bt.j2").write_text(PAIRS)
    found = tmp_path / "pairs.yaml"
    found.write_text("template: ./pairs.bt.j2\n")
    return str(found)


def reads(result, output, kind="process"):
    """Read holds of an owner kind, by the names in their keys."""
    found = {}
    for row in result.outputs[output].rows:
        key = row["key"]
        if key["mode"] == "read" and key["owner_kind"] == kind:
            names = key.get("comm"), key["owner_comm"]
            found[names] = found.get(names, 0) + row["count"]
    return found


def test_a_process_is_called_what_its_leader_is(kernel, daemon, pairs):
    """Whichever of its threads comes first, and when its leader has gone; filters know the name."""
    gate = ("--gate", "hold{mode=read,owner_comm=mydaemon}.count >= 4117")
    runs = opened(
        ("-p", str(daemon.pid)), ("--owner-comm", "mydaemon", *gate), ("--comm", "helper"),
        profile=pairs, profiles={1: "hold-times"},
    )  # fmt: skip
    does(daemon, "helper", 1009)
    does(daemon, "leader", 101)
    does(daemon, "leader", 0)  # it goes
    until(lambda: is_zombie(daemon.pid), "the leader goes")
    does(daemon, "helper", 3007)
    everything, by_owner, by_thread = ended(runs)
    assert reads(everything, "pairs").keys() == {("mydaemon", "mydaemon")}
    assert 0 <= sum(reads(everything, "pairs").values()) - 4117 < SLACK
    assert reads(by_owner, "owners").keys() == {(None, "mydaemon")}
    assert 0 <= sum(reads(by_owner, "owners").values()) - 4117 < SLACK
    assert [verdict.outcome for verdict in by_owner.verdicts] == ["pass"]
    assert reads(by_thread, "pairs").keys() == {("mydaemon", "mydaemon")}
    assert 0 <= sum(reads(by_thread, "pairs").values()) - 4016 < SLACK


def is_zombie(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


# A thread of the agent's reads what is asked for.
AGENT = """
import sys, threading
def reads():
    with open(f"/proc/self/task/{threading.get_native_id()}/comm", "w") as comm:
        comm.write("reader")
    print("up", flush=True)
    for line in sys.stdin:
        for _ in range(int(line)):
            open(f"/proc/{sys.argv[1]}/smaps_rollup").read()
        print("done", flush=True)
open("/proc/self/comm", "w").write("agent")
threading.Thread(target=reads).start()
"""


def test_a_table_names_the_process_and_an_event_the_thread(kernel, daemon):
    agent = child(AGENT, daemon.pid)
    assert heard(agent) == "up"
    runs = opened(("--set", "threshold=0", "-p", str(daemon.pid)), profile="foreign-holds")
    tell(agent, 29)
    assert heard(agent) == "done"
    (result,) = ended(runs)
    agent.communicate("")
    rows = [r for r in result.outputs["foreign"].rows if r["pid"] == agent.pid]
    assert {row["key"]["comm"] for row in rows} == {"agent"}
    assert {row["key"]["owner_comm"] for row in rows} == {"mydaemon"}
    assert sum(r["count"] for r in rows if r["key"]["cause"].startswith("smaps")) == 29
    events = [r for r in result.outputs["foreign_holds"].rows if r["pid"] == agent.pid]
    assert {row["comm"] for row in events if "smaps" in row["cause"]} == {"reader"}


# Children that run on their parent's memory: some fill a page of it, then exec; some exit.
VFORKS = r"""
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int c, char **v) {
  int execs = atoi(v[1]), exits = atoi(v[2]);
  for (int i = 0; i < execs + exits; i++) {
    pid_t child = vfork();
    if (!child) {
      void *p = mmap(0, 1 << 20, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
      munmap(p, 1 << 20);
      if (i < execs) execl(v[3], v[3], (char *)0);
      _exit(7);
    }
    waitpid(child, 0, 0);
  }
}
"""


@pytest.fixture
def vforks(tmp_path):
    compiler = shutil.which("cc") or pytest.skip("no C compiler: Python cannot vfork by itself")
    source, built = tmp_path / "vforks.c", tmp_path / "vforks"
    source.write_text(VFORKS)
    subprocess.run([compiler, "-O1", "-w", "-o", str(built), str(source)], check=True)
    return [str(built), "23", "19", shutil.which("true")]


def inside(rows, function):
    """Those with the function, or one of several, in their stacks."""
    return [row for row in rows if any(frame.startswith(function) for frame in row["kernel_stack"])]


def test_a_vforks_child_takes_its_parents_lock_as_its_own(traced, vforks):
    """Until it execs or exits, its last hold in either included."""
    result = traced("long-holds", "--set", "threshold=0", "--", *vforks)
    rows = [row for row in result.outputs["long_holds"].rows if row["pid"] != row["owner_pid"]]
    parents = [row for row in rows if row["owner_comm"] == "vforks"]
    assert {row["owner_kind"] for row in parents} == {"shared"}
    assert len({row["owner_pid"] for row in parents}) == 1
    assert len({row["pid"] for row in parents}) == 42
    assert len(inside(parents, "__mm_populate")) == 42
    assert len(inside(parents, ("exec_mmap", "begin_new_exec"))) == 23
    assert len({row["pid"] for row in inside(parents, "do_exit")}) == 19


def test_a_vforks_child_is_not_foreign(traced, vforks):
    result = traced("foreign-holds", "--locks", "all", "--set", "threshold=0", "--", *vforks)
    assert not any(result.outputs[name].rows for name in ("pairs", "foreign", "foreign_holds"))


@pytest.mark.parametrize("profile", ["overview", "blame"])
def test_a_vforks_child_holds_no_other_processs_lock(traced, vforks, profile):
    words = ("--locks", "all", "--set", "threshold=0", "--set", "behind=0")
    result = traced(profile, *words, "--", *vforks)
    holds = [r for r in result.outputs["holds"].rows if r["pid"] != r["owner_pid"]]
    assert {row["owner_kind"] for row in holds if row["owner_pid"]} == {"shared"}
    assert profile != "overview" or not result.outputs["foreign"].rows


def test_with_a_pid_a_fork_counts_once(kernel):
    """The newborn's memory is another address space, which --descendants adds."""
    family = child(
        "import os, sys\nprint('up', flush=True)\nfor line in sys.stdin:\n"
        " for _ in range(int(line)):\n  pid = os.fork()\n  if not pid: os._exit(0)\n"
        "  os.waitpid(pid, 0)\n print('done', flush=True)"
    )
    assert heard(family) == "up"
    words = ("--set", "threshold=0", "-p", str(family.pid))
    runs = opened(words, (*words, "--descendants"), profile="long-holds")
    tell(family, 23)
    assert heard(family) == "done"
    alone, with_children = ended(runs)
    family.communicate("")
    assert (forked(alone, "process"), forked(alone, "fork_child")) == (23, 0)
    assert (forked(with_children, "process"), forked(with_children, "fork_child")) == (23, 23)
    assert {row["owner_kind"] for row in alone.outputs["long_holds"].rows} == {"process"}


FILLS = "import os, sys; filled = bytearray(64 << 20); os.{}"


@pytest.mark.parametrize("end", ["_exit(0)", "execv('/bin/true', ['true'])"])
def test_a_teardown_is_told_as_one_and_drives_no_gate(traced, end):
    """Nobody can wait for it: neither where a process exits, nor where it becomes another image."""
    gates = ("--gate", "hold{owner_kind=teardown}.count >= 2", "--gate", "hold.count > 1")
    words = ("--set", "threshold=0", *gates)
    result = traced("long-holds", *words, "--", sys.executable, "-I", "-S", "-c", FILLS.format(end))
    assert {verdict.outcome for verdict in result.verdicts} == {"pass"}
    torn = inside(result.outputs["long_holds"].rows, "exit_mmap")
    assert torn and {row["owner_kind"] for row in torn} == {"teardown"}
    assert all(row["owner_pid"] == row["pid"] for row in torn)
    longest = max(torn, key=lambda row: row["hold_ns"])
    assert longest["comm"] == longest["owner_comm"]
    kinds = {row["key"]["owner_kind"] for row in result.outputs["hold"].rows}
    assert "teardown" in kinds and "process" in kinds


def test_an_exit_is_no_trouble(traced):
    """Whatever a single thread gives back at its end, nobody waited."""
    argv = [sys.executable, "-I", "-S", "-c", FILLS.format("_exit(0)")]
    (finding,) = traced("overview", "--", *argv).findings
    assert finding.harm == "calm"


def test_a_teardown_by_whoever_lets_go_last_is_nobodys(kernel, tmp_path):
    """The process is gone; who read its memory gives it back."""
    with parked(tmp_path) as space:
        runs = opened(("--set", "threshold=0",), ("--actor-pid", str(space.holder.pid)),
                      profile="long-holds", profiles={1: "hold-times"})  # fmt: skip
        space.take()
        os.kill(space.pid, signal.SIGKILL)
        space.owner.wait()
        space.let_go()
        long, times = ended(runs)
    torn = [r for r in long.outputs["long_holds"].rows if r["pid"] == space.holder.pid]
    torn = inside(torn, "exit_mmap")
    assert torn and {(row["owner_kind"], row["owner_pid"]) for row in torn} == {("teardown", None)}
    counted = [
        row for row in times.outputs["owners"].rows if row["key"]["owner_kind"] == "teardown"
    ]
    assert sum(row["count"] for row in counted) == len(torn)
    assert {row["key"]["owner_pid"] for row in counted} == {None}
