"""bpftrace's stream is taken out of the pipe as it comes, within bounds."""

import fcntl
import os
import select
import threading

import pytest

from mmaplock_bt.tracing import drain as drain_module
from mmaplock_bt.tracing.drain import PIPE_BYTES, Drain

MUCH = b"".join(b"%07d\n" % number for number in range(1 << 19))  # 4 MiB


@pytest.fixture
def fifo(tmp_path):
    """(the reading end, the writing end) of a FIFO, opened as the tracer and bpftrace do."""
    path = tmp_path / "stream"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(path, os.O_WRONLY)
    yield reader, writer
    os.close(reader)


def written(writer: int) -> threading.Thread:
    """Another thread that writes MUCH and closes the pipe."""

    def write() -> None:
        with os.fdopen(writer, "wb") as file:
            file.write(MUCH)

    thread = threading.Thread(target=write)
    thread.start()
    return thread


def everything(drain: Drain) -> bytes:
    """What is taken until the writer has closed the pipe and the drain has read to its end."""
    found = b""
    while len(found) < len(MUCH) and select.select([drain.arrived], [], [], 30)[0]:
        found += drain.take()
    return found


def test_the_pipe_is_enlarged(fifo):
    reader, writer = fifo
    drain = Drain(reader)
    assert fcntl.fcntl(reader, fcntl.F_GETPIPE_SZ) == PIPE_BYTES
    drain.close()
    os.close(writer)


def test_a_writer_does_not_wait_for_a_slow_reader(fifo):
    """Four times what a pipe holds, and nobody takes anything until all is written."""
    drain = Drain(fifo[0])
    drain.start()
    writing = written(fifo[1])
    writing.join(timeout=30)
    assert not writing.is_alive(), "the writer was held up"
    assert everything(drain) == MUCH and drain.received_bytes == len(MUCH)
    drain.close()


def test_beyond_its_bound_the_writer_waits_and_nothing_is_lost(fifo):
    bound = 1 << 16
    drain = Drain(fifo[0], held_bytes=bound)
    drain.start()
    writing = written(fifo[1])
    assert select.select([drain.arrived], [], [], 30)[0]
    assert drain.received_bytes <= bound + PIPE_BYTES < len(MUCH)
    assert writing.is_alive()
    assert everything(drain) == MUCH
    writing.join(timeout=30)
    drain.close()


def test_lines_that_come_thick_are_taken_many_at_once(fifo, monkeypatch):
    """A read for each would cost more than the lines; one that comes alone does not wait."""
    monkeypatch.setattr(drain_module, "PAUSE_MS", 10**6)  # what ends a pause is the stop
    reader, writer = fifo
    drain = Drain(reader)
    drain.start()
    os.write(writer, b"1\n")
    assert select.select([drain.arrived], [], [], 30)[0] and drain.take() == b"1\n"
    for line in (b"2\n", b"3\n", b"4\n"):
        os.write(writer, line)
    assert drain.take() == b""
    os.close(writer)
    drain.stop()
    assert drain.take() == b"2\n3\n4\n"
    drain.close()


def test_its_stop_reads_what_is_in_the_pipe(fifo):
    """A descendant of bpftrace may keep the pipe open: its end never comes."""
    reader, writer = fifo
    drain = Drain(reader)
    os.write(writer, b"last\n")
    drain.start()
    drain.stop()
    assert drain.take() == b"last\n" and drain.take() == b"" and drain.is_empty
    drain.close()
    os.close(writer)


def test_a_pipe_that_nobody_opened_keeps_nobody(tmp_path):
    path = tmp_path / "stream"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    drain = Drain(reader)
    drain.start()
    drain.close()
    assert drain.received_bytes == 0
    os.close(reader)
