"""bpftrace's process: told its last words, heard, seen asleep, ended."""

import os
import select
import signal

import pytest

from mmaplock_bt.tracing.process import EXEC_FAILED, Process


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
