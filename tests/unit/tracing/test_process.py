"""bpftrace's process: told its last words, heard, seen asleep, ended."""

import os
import select
import signal
import subprocess
import sys

import pytest

from mmaplock_bt.signals import ENDING
from mmaplock_bt.tracing import process as process_module
from mmaplock_bt.tracing.process import EXEC_FAILED, Forked, Process


@pytest.fixture
def process():
    """Starts shell commands as bpftrace is started."""
    started = []

    def start(body: str, *last: str, path: str = "/bin/sh") -> Process:
        started.append(Process([path, "-c", body, "sh"], dict(os.environ)))
        started[-1].tell(list(last))
        return started[-1]

    yield start
    for one in started:
        one.end()
        assert not one.alive


def ended(one: Process) -> int | None:
    assert select.select([one.pidfd], [], [], 30)[0], "it did not end"
    assert not one.alive
    return one.status


def heard(one: Process) -> bytes:
    said = b""
    while one.terminal >= 0 and select.select([one.terminal], [], [], 30)[0]:
        said += one.said()
    return said


def test_it_is_executed_with_its_last_words_on_a_terminal(process):
    one = process("test -t 2 && echo $1+$2; exit 7", "1", "22")
    assert heard(one).strip() == b"1+22"
    assert ended(one) == 7


def test_a_signal_is_a_negative_status(process):
    one = process("read forever", "x")
    one.signal(signal.SIGTERM)
    assert ended(one) == -signal.SIGTERM


def test_a_program_that_is_not_there_says_so(process):
    one = process("", "x", path="/nonexistent/bpftrace")
    assert b"/nonexistent/bpftrace: No such file" in heard(one)
    assert ended(one) == EXEC_FAILED


def test_its_descriptors_are_its_own(process):
    """What was handed to the tool is no business of bpftrace's."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    process("read forever", "x")
    os.close(writer)
    assert select.select([reader], [], [], 30)[0] and os.read(reader, 1) == b""
    os.close(reader)


def test_sleep_is_told_from_work(process):
    sleeping, working = (
        process("echo; read forever", "x"),
        process("echo; while :; do :; done", "x"),
    )
    for one in (sleeping, working):
        assert select.select([one.terminal], [], [], 30)[0]
    while sleeping.asleep() is None:  # from its echo to its read
        os.sched_yield()
    assert sleeping.asleep() == sleeping.asleep() is not None
    assert working.asleep() is None


def test_one_that_is_stopped_goes_on_when_it_is_looked_at(process):
    one = process("echo; kill -STOP $$; exit 7", "x")
    while one.stops == 0:
        assert one.alive
        select.select([one.pidfd], [], [], 0.01)
    assert ended(one) == 7 and one.stops == 1


def test_one_that_is_stopped_is_ended(process):
    one = process("kill -STOP $$; read forever", "x")
    os.waitid(os.P_PID, one.pid, os.WSTOPPED | os.WNOWAIT)
    one.end()
    assert one.status == -signal.SIGKILL


def test_one_that_cannot_be_ended_is_told(process, monkeypatch, capsys):
    """As where it is stuck in the kernel: here no signal kills."""
    one = process("echo; read forever", "x")
    assert select.select([one.terminal], [], [], 30)[0]
    monkeypatch.setattr(process_module, "PATIENCE_S", 0.01)
    monkeypatch.setattr(Process, "signal", lambda *_: None)
    one.end()
    assert f"bpftrace (pid {one.pid}) does not end" in capsys.readouterr().err
    monkeypatch.undo()
    os.kill(one.pid, signal.SIGKILL)
    os.waitpid(one.pid, 0)
    one.status = -signal.SIGKILL


def test_it_hears_its_ending_signals_whatever_the_tool_ignores(process):
    """Below nohup the end of its terminal would not end it."""
    before = [signal.signal(number, signal.SIG_IGN) for number in ENDING]
    try:
        one = process("grep SigIgn /proc/self/status", "x")
    finally:
        for number, handler in zip(ENDING, before, strict=True):
            signal.signal(number, handler)
    bits = int(heard(one).split()[1], 16)
    assert not any(bits >> (number - 1) & 1 for number in ENDING)
    assert ended(one) == 0


@pytest.mark.parametrize("is_there", [True, False])
def test_a_process_that_is_to_end_with_its_parent_does(is_there):
    """A shell in between is the parent; it is killed, or was gone before."""
    code = (
        "import os, signal, sys; from mmaplock_bt.tracing import process\n"
        "process.end_with_parent(int(sys.argv[1]), signal.SIGTERM)\n"
        "print(os.getpid(), flush=True); signal.pause()"
    )
    parent = "$$" if is_there else "1"
    words = ["sh", "-c", f'"$1" -c "$2" {parent} & wait', "sh", sys.executable, code]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as shell:
        assert bool(shell.stdout.readline()) == is_there
        shell.kill()
        assert shell.stdout.read() == b"", "it has outlived its parent"


@pytest.mark.parametrize(("is_deaf", "status"), [(False, 0), (True, -signal.SIGKILL)])
def test_one_that_is_this_program_tidies_up_when_it_is_ended(
    monkeypatch, tmp_path, is_deaf, status
):
    left = tmp_path / "left"

    def work(_: list[str]) -> int:
        woken = [signal.SIGTERM]
        signal.pthread_sigmask(signal.SIG_BLOCK, woken)
        left.touch()
        os.write(1, b"up")
        signal.sigwait([signal.SIGUSR1] if is_deaf else woken)
        left.unlink()
        return 0

    if is_deaf:
        monkeypatch.setattr(process_module, "TIDY_S", 0.1)
    one = Forked("a child", work, ())
    one.tell(["x"])
    said = b""
    while b"up" not in said:
        assert select.select([one.terminal], [], [], 30)[0]
        said += one.said()
    one.end()
    assert (one.status, left.exists()) == (status, is_deaf)
    one.end()  # again: nothing
