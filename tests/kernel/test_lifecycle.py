"""However a run ends, the result is kept and nothing stays behind."""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmaplock_bt import command_line, workload
from mmaplock_bt.command_line import default_bpftrace
from mmaplock_bt.commands import selftest
from tests.builders import TESTS
from tests.kernel.processes import begun, bpftrace_of, bpftrace_pids, started

pytestmark = pytest.mark.kernel


def test_an_interrupt_gives_the_result_so_far(kernel):
    run = started("hold-times", "--format", "json")
    run.send_signal(signal.SIGINT)
    out, _ = run.communicate(timeout=60)
    result = json.loads(out)
    assert result["window"]["ended_by"] == "interrupt"
    assert result["loss"]["complete"] and result["books"]["residue"] == 0


def test_sigkill_of_the_tool_ends_bpftrace(kernel):
    run = started("hold-times")
    pidfd = os.pidfd_open(bpftrace_of(run))
    run.kill()
    run.communicate(timeout=60)
    assert select.select([pidfd], [], [], 30)[0], "bpftrace outlived its parent"


def test_a_killed_bpftrace_keeps_what_came_before_and_says_so(kernel):
    run = started("long-holds", "--set", "threshold=0", "--format", "json")
    os.kill(bpftrace_of(run), signal.SIGKILL)
    run.wait(timeout=60)  # before the command's standard input closes and ends it
    out, err = run.communicate(timeout=60)
    result = json.loads(out)
    assert run.returncode == 4
    assert "bpftrace ended" in err
    assert result["window"]["ended_by"] == "bpftrace_died"
    assert result["books"]["starts"] is None
    assert not result["loss"]["complete"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_bpftrace_killed_while_it_compiles_has_refused_nothing(kernel, tmp_path, number):
    run = subprocess.Popen(
        [sys.executable, "-m", "mmaplock_bt", "run", "overview", "-d", "60s"],
        env=os.environ | {"TMPDIR": str(tmp_path)}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not (found := bpftrace_pids()):
        assert run.poll() is None
        time.sleep(0.002)
    os.kill(int(found.pop()), number)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 4 and "ended before its probes were live" in err, err
    assert "refused" not in err and not list(tmp_path.iterdir())


def test_a_bpftrace_that_is_stopped_goes_on_and_the_run_ends(kernel):
    """It would not hear its end. What it cannot take meanwhile is in the buffers, or told as lost.

    The second stop comes at the end: nobody looks any more but who waits for it.
    """
    run = started("hold-times", "--format", "json")
    pid = bpftrace_of(run)
    os.kill(pid, signal.SIGSTOP)
    while (heard := run.stderr.readline()) and "was stopped and goes on" not in heard:
        pass
    assert f"(pid {pid})" in heard
    run.send_signal(signal.SIGINT)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    out, err = run.communicate(timeout=60)
    result = json.loads(out)
    assert run.returncode == 0, err
    assert result["window"]["ended_by"] == "interrupt" and result["books"]["residue"] == 0


def test_nohup_keeps_a_run_and_its_command_from_ending(kernel, tmp_path):
    """The hang-up ends neither; SIGTERM ends the window, as ever."""
    ready, told = os.pipe()
    words = [sys.executable, "-m", "mmaplock_bt", "run", "hold-times", "--format", "json"]
    run = subprocess.Popen(
        ["nohup", *words, "--ready-fd", str(told), "--", "sh", "-c",
         f"kill -HUP $$ $PPID; echo deaf > {tmp_path}/said; exec sleep 600"],
        pass_fds=[told], text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(told)
    with os.fdopen(ready) as window:
        assert window.read() == "ready\n"
    run.send_signal(signal.SIGHUP)
    while not (tmp_path / "said").exists():
        assert run.poll() is None
        time.sleep(0.002)
    run.send_signal(signal.SIGTERM)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 0, err
    assert json.loads(out)["window"]["ended_by"] == "interrupt"


def test_a_failing_command_is_6_and_its_status_is_in_the_result(traced):
    result = traced("hold-times", "--", "sh", "-c", "exit 7", code=6)
    assert result.window.command.status == 7
    assert result.window.ended_by == "command"


@pytest.mark.parametrize(
    ("words", "argv"),
    [
        ("long-holds --set threshold=0", ("munmaps", 23)),
        ("stuck-locks --set limit=10ms --set poll=10ms", ("populate", 256)),
        ("blame", ("smaps", 3, 512)),
        ("overview", ("forks", 3, 64)),
    ],
)
def test_a_raw_stream_gives_the_identical_result(cli, kernel, tmp_path, words, argv):
    raw, saved = tmp_path / "raw", tmp_path / "a.json"
    done = cli("run", *words.split(), "--save-raw", str(raw), "-o", str(saved),
               "--", *workload.command(*argv))  # fmt: skip
    assert done.returncode == 0, done.stderr
    again = cli("report", str(raw), "--format", "json")
    assert again.stdout == saved.read_text()
    assert cli("report", str(saved)).stdout == done.stdout


def test_the_window_ends_with_the_target(kernel):
    """The target is killed when the window is open and not before: nothing else can end it."""
    target = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    run = begun("hold-times", "-p", str(target.pid), "--format", "json")
    target.kill()
    target.communicate()
    out, err = run.communicate(timeout=60)
    assert run.returncode == 0, err
    assert json.loads(out)["window"]["ended_by"] == "target_exit"


@pytest.mark.parametrize("words", ["overview", "overview --locks all", "hold-times", "wait-times"])
def test_a_window_in_which_nothing_happened_was_seen_through(kernel, words):
    """From 0.24 on a map that stayed empty may not be printed; the books are 0 all the same."""
    idle = subprocess.Popen(["sleep", "600"])
    try:
        run = begun(*words.split(), "-p", str(idle.pid), "-d", "100ms", "--format", "json")
        out, err = run.communicate(timeout=60)
    finally:
        idle.kill()
        idle.wait()
    assert run.returncode == 0, err
    result = json.loads(out)
    kept = {name: n for name, n in result["books"].items() if n is not None}
    assert result["loss"]["complete"] and not result["loss"]["unseen"]
    assert kept["residue"] == kept["acquires"] == 0 and not any(kept.values())


def test_a_target_that_is_gone_is_wrong_usage(cli, kernel):
    """No window is opened for it."""
    target = subprocess.Popen(["true"])
    target.wait()
    done = cli("run", "hold-times", "-p", str(target.pid))
    assert done.returncode == 2 and "no such process" in done.stderr and not done.stdout


def test_many_open_descriptors_are_no_trouble(kernel):
    """dash takes one digit in <&N; and what was handed to the tool reaches the command."""
    pipes = [os.pipe() for _ in range(20)]
    handed = pipes[-1][1]
    run = [sys.executable, "-m", "mmaplock_bt", "run", "hold-times", "--format", "none"]
    done = subprocess.run(
        [*run, "--", "sh", "-c", f"echo heard > /proc/self/fd/{handed}"],
        pass_fds=[fd for pipe in pipes for fd in pipe],
        check=False,
    )
    assert done.returncode == 0
    assert os.read(pipes[-1][0], 9) == b"heard\n"
    for fd in (fd for pipe in pipes for fd in pipe):
        os.close(fd)


@pytest.mark.parametrize(("wrong", "code"), [(False, 0), (True, 1)])
def test_the_self_test_tells_pass_from_fail(kernel, monkeypatch, capsys, wrong, code):
    """All of its cases are run by the matrix."""
    (case,) = [case for case in selftest.cases() if case.profile == "wait-times"]
    if wrong:
        case = replace(case, check=lambda result: ("nothing", False))
    monkeypatch.setattr(selftest, "cases", lambda: [case])
    arguments = command_line.parse(["selftest"])
    assert selftest.main(arguments) == code
    said = capsys.readouterr().out
    assert said.startswith("FAIL  wait-times" if wrong else "pass  wait-times")
    assert ("Books(" in said) == wrong


def test_open_spans_that_cannot_be_looked_at_are_no_complete_result(traced, monkeypatch):
    """Not every kernel gives another process's descriptors away; a silent 'none seen' would lie."""
    monkeypatch.setenv("PYTHONPATH", str(TESTS / "blind"))
    result = traced("stuck-locks", "--", *workload.command("munmaps", 23))
    assert not result.loss.complete
    assert any("not looked at" in message for message in result.messages)


def test_the_held_btf_is_let_go_of_once_the_window_is_open(kernel):
    """It is there for raw tracepoints of bpftrace 0.27 alone; any one but ours would be a leak."""
    run = begun("hold-times", "-d", "60s")
    links = [str(entry.readlink()) for entry in Path(f"/proc/{run.pid}/fd").iterdir()]
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=60)
    assert any("eventfd" in link for link in links), "the descriptors were not seen"
    assert not any("btf" in link for link in links)


def test_the_next_run_with_the_same_words_has_a_head_start(kernel, tmp_path, cli):
    """bpftrace is started once, as before; twice where what came to be started is another."""
    launches, program = tmp_path / "launches", tmp_path / "bpftrace"
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *" -o "*) echo x >> {launches};; esac\n'
        f'exec {shutil.which(default_bpftrace())} "$@"\n'
    )
    program.chmod(0o755)
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}

    def result(map_keys: int) -> Any:
        (tmp_path / "x.yaml").write_text(f"extends: hold-times\nmap_keys: {map_keys}\n")
        launches.write_text("")
        words = (str(tmp_path / "x.yaml"), "--bpftrace", str(program), "--format", "json")
        return json.loads(cli("run", *words, "--", "true", env=cache).stdout)

    first = result(128)
    second = result(128)
    assert launches.read_text() == "x\n"
    third = result(256)
    assert launches.read_text() == "x\nx\n"
    assert first["profile"] == second["profile"] != third["profile"]
    for one in (second, third):
        assert one["loss"]["complete"] and one["books"]["acquires"] > 0
        assert one["books"]["residue"] == 0
