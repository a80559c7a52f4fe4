"""The engine over tracefs, beside bpftrace on the same locks and without any bpftrace."""

import json
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from mmaplock_bt import workload
from mmaplock_bt.commands.selftest import forked, sound
from mmaplock_bt.errors import TargetError
from mmaplock_bt.machine import inventory
from mmaplock_bt.tracing.descendants import descendants
from tests.kernel.parked import until
from tests.kernel.processes import begun, started
from tests.kernel.results import loaded

pytestmark = [pytest.mark.kernel, pytest.mark.daily]

TRACEFS = ("--engine", "tracefs")


def instances():
    return sorted(one.name for one in inventory.tracefs().glob("instances/mmaplock-bt-*"))


@pytest.fixture(autouse=True)
def nothing_left():
    """No instance is left, however a test's runs ended."""
    try:
        inventory.by_tracefs("it is tested")
    except TargetError as error:
        pytest.skip(str(error))
    before = instances()
    yield
    until(lambda: instances() == before, f"left: {instances()}")


@pytest.fixture
def no_bpftrace(tmp_path):
    """An environment in which there is no bpftrace."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("python3", "sh", "true", "sleep"):
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    return {"PATH": str(folder), "MMAPLOCK_BPFTRACE": "bpftrace"}


class Beside:
    """Both engines on the same process, which does its work when both windows are open."""

    def __init__(self, folder, profile, argv, *words):
        held = subprocess.Popen(
            ["sh", "-c", f"read go; exec {shlex.join(argv)}"], stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        meant = ("--actor-pid", str(held.pid), "--descendants", *words, "-q", "--format", "none")
        self.files = {name: folder / f"{name}.json" for name in ("bpftrace", "tracefs")}
        runs = [
            begun(profile, "--engine", name, "--locks", "all", "-o", str(file), *meant)
            for name, file in self.files.items()
        ]
        held.communicate(b"go\n", timeout=60)
        assert held.returncode == 0
        for run in runs:
            run.send_signal(signal.SIGINT)
        for run in runs:
            _, err = run.communicate(timeout=60)
            assert run.returncode == 0, err

    def results(self):
        found = [loaded(file.read_text()) for file in self.files.values()]
        for one in found:
            assert sound(one), (one.loss, one.messages)
            assert one.books.residue == 0
        return found


def by_mode(result, name):
    rows = result.outputs[name].rows
    return {row["key"]["mode"]: (row["count"], row["sum"]) for row in rows}


@pytest.mark.parametrize(
    "argv",
    [workload.command("forks", 23, 64), workload.command("munmaps", 1009)],
    ids=["fork", "munmap"],
)
def test_both_engines_count_the_same_holds_and_sum_the_same_times(kernel, tmp_path, argv):
    bpf, tracefs = Beside(tmp_path, "hold-times", argv).results()
    for name in ("acquires", "releases", "downgrades"):
        assert getattr(tracefs.books, name) == getattr(bpf.books, name), name
    expected, found = by_mode(bpf, "hold"), by_mode(tracefs, "hold")
    assert {mode: n for mode, (n, _) in found.items()} == {m: n for m, (n, _) in expected.items()}
    for mode, (_, total) in expected.items():
        # Each tracer's own work in the other's holds is a microsecond or two.
        assert found[mode][1] == pytest.approx(total, rel=0.2, abs=3000 * expected[mode][0]), mode


def test_both_engines_see_the_same_waits_of_a_convoy(kernel, tmp_path):
    argv = workload.command("convoy", 3, 512, 3)
    bpf, tracefs = Beside(tmp_path, "wait-times", argv).results()
    expected, found = by_mode(bpf, "wait"), by_mode(tracefs, "wait")
    for mode, (count, total) in expected.items():
        assert found[mode][0] == count, mode
        assert found[mode][1] == pytest.approx(total, rel=0.1, abs=3000 * count), mode
    assert (tracefs.books.starts, tracefs.books.failed) == (bpf.books.starts, bpf.books.failed)


def test_long_holds_have_the_same_causes_owners_and_stacks(kernel, tmp_path):
    argv = workload.command("forks", 23, 64)
    words = ("--set", "threshold=0", "--set", "user_stack=0")  # theirs are not compared
    bpf, tracefs = Beside(tmp_path, "long-holds", argv, *words).results()
    assert forked(bpf, "process") == forked(tracefs, "process") == 23
    assert forked(bpf, "fork_child") == forked(tracefs, "fork_child") == 23

    def told(result):
        rows = result.outputs["long_holds"].rows
        # Which advice a madvise was is told by registers, which bpftrace alone reads.
        causes = [row["cause"].partition("(")[0] for row in rows]
        return Counter(
            (r["mode"], cause, r["comm"], r["pid"], r["tid"])
            for r, cause in zip(rows, causes, strict=True)
        )

    # A hold whose stack bpftrace lost has no cause to compare.
    lost, found, expected = bpf.loss.stack_errors, told(tracefs), told(bpf)
    assert (found - expected).total() <= lost and found.total() == expected.total()

    def owned(result):
        return {
            (r["tid"], r["mm"], r["owner_pid"], r["owner_kind"], r["cgroup"])
            for r in result.outputs["long_holds"].rows
        }

    unknown = {one for one in owned(tracefs) if one[3] == "unknown"}
    assert owned(tracefs) - unknown <= owned(bpf), "an owner that is told is the owner"
    assert len(unknown) < len(owned(tracefs)) / 10
    names = {
        frame.partition("+")[0]
        for r in tracefs.outputs["long_holds"].rows
        for frame in r["kernel_stack"]
    }
    assert {"dup_mmap", "exit_mmap"} <= names


def test_without_a_bpftrace_it_traces_all_the_same_and_says_why(cli, no_bpftrace, tmp_path):
    saved = tmp_path / "r.json"
    words = ("run", "long-holds", "--set", "threshold=0", "-o", str(saved), "--")
    done = cli(*words, *workload.command("munmaps", 1009), env=no_bpftrace)
    assert done.returncode == 0, done.stderr
    assert "engine: tracefs, because bpftrace is not installed" in done.stderr
    assert "engine tracefs, because bpftrace is not installed" in " ".join(done.stdout.split())
    result = loaded(saved.read_text())
    assert result.target.facts["engine"] == "tracefs"
    assert result.books.downgrades >= 1009
    assert result.loss.complete and result.books.residue == 0


def test_the_self_test_has_its_known_answers_without_a_bpftrace(cli, no_bpftrace):
    done = cli("selftest", *TRACEFS, "--json", env=no_bpftrace)
    told = json.loads(done.stdout)
    assert done.returncode == 0, told
    assert (told["engine"], told["bpftrace"]) == ("tracefs", "none")
    assert all(case["pass"] for case in told["cases"])
    assert len(told["cases"]) == 7


def test_the_default_run_without_a_bpftrace_names_who_waited_for_whom(cli, no_bpftrace, tmp_path):
    saved = tmp_path / "r.json"
    argv = workload.command("stalled", 300, 512)
    done = cli("run", "-o", str(saved), "--", *argv, env=no_bpftrace)
    assert done.returncode == 0, done.stderr
    rows = loaded(saved.read_text()).outputs["culprits"].rows
    assert rows[0]["key"]["culprit"] == "smaps-reader"
    assert "smaps" in rows[0]["key"]["cause"]


def test_what_it_cannot_serve_is_refused_in_one_sentence(cli, no_bpftrace):
    done = cli("run", "writer-starvation", "-d", "1s", env=no_bpftrace)
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
    assert "bpftrace is not installed, and writer-starvation asks for 'unroll'" in done.stderr
    done = cli("run", "hold-times", *TRACEFS, "-p", "1", "-d", "1s")
    assert (done.returncode, len(done.stderr.splitlines())) == (3, 1)
    assert "-p and --owner-comm" in done.stderr


def test_a_raw_stream_is_analysed_again_as_it_was(cli, tmp_path):
    saved, raw = tmp_path / "r.json", tmp_path / "raw.ndjson"
    argv = workload.command("forks", 7, 16)
    words = ("run", "blame", *TRACEFS, "--save-raw", str(raw), "-o", str(saved), "--")
    assert cli(*words, *argv).returncode == 0
    done = cli("report", str(raw), "--format", "json")
    again, first = json.loads(done.stdout), json.loads(saved.read_text())
    assert again["outputs"] == first["outputs"]
    assert (again["books"], again["loss"]) == (first["books"], first["loss"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_the_tool_leaves_no_instance(number):
    run = started("long-holds", *TRACEFS, "--format", "json")
    assert len(instances()) == 1
    run.send_signal(number)
    out, err = run.communicate(timeout=60)
    if number != signal.SIGKILL:
        result = json.loads(out)
        assert result["window"]["ended_by"] == "interrupt"
        assert result["loss"]["complete"], err


def test_a_killed_engine_leaves_no_instance_and_is_told(tmp_path):
    run = started("hold-times", *TRACEFS, "--format", "json")
    (name,) = instances()
    os.kill(int(name.split("-")[2]), signal.SIGKILL)
    run.wait(timeout=60)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 4
    assert "the tracefs engine ended before the window did" in err
    assert json.loads(out)["window"]["ended_by"] == "bpftrace_died"
    assert instances() == []


_KILLED_AT_ONCE = """
import os, signal, sys
from mmaplock_bt.tracefs import tracer
tracer.Tracer._switch_on = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
from mmaplock_bt.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_an_engine_that_is_killed_at_its_start_is_no_fault_of_the_machine_s():
    argv = [sys.executable, "-c", _KILLED_AT_ONCE, "run", "hold-times", *TRACEFS, "-d", "1s"]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert done.returncode == 4, done.stderr
    assert "the tracefs engine ended before its probes were live (killed by" in done.stderr
    assert instances() == []


def test_what_a_killed_run_and_its_engine_left_is_removed_by_the_next(cli):
    run = started("hold-times", *TRACEFS)
    (name,) = instances()
    engine = int(name.split("-")[2])
    pidfd = os.pidfd_open(engine)
    for pid in (engine, run.pid):  # in this order neither has time to tidy up
        os.kill(pid, signal.SIGSTOP)
    for pid in (run.pid, engine):
        os.kill(pid, signal.SIGKILL)
    run.communicate(timeout=60)
    assert select.select([pidfd], [], [], 30)[0]
    assert instances() == [name]
    assert cli("run", "hold-times", *TRACEFS, "-d", "100ms").returncode == 0
    assert instances() == []


# A buffer that holds little, read seldom.
_OVERRUN = """
import sys
from mmaplock_bt.tracefs import reader, tracer
tracer.buffer_kib = lambda cpus: 64
tracer.POLL_S = 1.0
from mmaplock_bt.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_lost_events_are_counted_and_make_the_result_incomplete(tmp_path):
    saved = tmp_path / "r.json"
    argv = workload.command("munmaps", 20011)
    words = ("run", "long-holds", *TRACEFS, "-o", str(saved), "--set", "threshold=1s", "--", *argv)
    subprocess.run([sys.executable, "-c", _OVERRUN, *words], check=True, capture_output=True)
    result = loaded(saved.read_text())
    assert result.loss.lost_events > 20011
    assert not result.loss.complete
    assert result.books.residue >= 0
    assert result.outputs["long_holds"].rows == [], "no hold is made of two ends of others"


def test_doctor_tells_which_engine_a_run_would_take(cli, no_bpftrace):
    without = cli("doctor", env=no_bpftrace)
    assert re.search(r"^ok +engine: tracefs", without.stdout, re.MULTILINE), without.stdout
    assert "bpftrace is not installed" in without.stdout


def test_its_own_process_is_below_the_tool_and_gone_with_it():
    run = started("hold-times", *TRACEFS)
    names = {Path(f"/proc/{pid}/comm").read_text().strip() for pid in descendants(run.pid)}
    assert "tracefs-engine" in names
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=60)
    assert descendants(run.pid) == set()
