"""bpftrace's stream is taken out of the pipe as it comes, within bounds."""

import fcntl
import os
import select
import threading
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmaplock_bt.stream.printed_lines import HEAD, TAIL
from mmaplock_bt.stream.thinning import Thinning
from mmaplock_bt.tracing import drain as drain_module
from mmaplock_bt.tracing.drain import PIPE_BYTES, Drain
from tests.builders import declared

HOLDS = declared(holds={"kind": "events", "fields": ["time_ns"]})
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
    drain = Drain(reader, Thinning({}))
    assert fcntl.fcntl(reader, fcntl.F_GETPIPE_SZ) == PIPE_BYTES
    drain.close()
    os.close(writer)


def test_a_writer_does_not_wait_for_a_slow_reader(fifo):
    """Four times what a pipe holds, and nobody takes anything until all is written."""
    drain = Drain(fifo[0], Thinning(HOLDS))
    drain.start()
    writing = written(fifo[1])
    writing.join(timeout=30)
    assert not writing.is_alive(), "the writer was held up"
    assert everything(drain) == MUCH and drain.received_bytes == len(MUCH)
    drain.close()


def test_beyond_its_bound_events_are_left_out_and_counted(fifo):
    """The writer is not held up, and whatever is no event is there."""
    thinning = Thinning(HOLDS)
    drain = Drain(fifo[0], thinning, held_bytes=2 * PIPE_BYTES)
    drain.start()
    events = [f"{HEAD}holds|{n}|{'x' * 1000}{TAIL}\n".encode() for n in range(8009)]
    others = [f"{HEAD}name|{n}|0|{TAIL}\n".encode() for n in range(801)]
    with os.fdopen(fifo[1], "wb") as file:
        for at, event in enumerate(events):
            file.write(event + others[at // 10] * (at % 10 == 0))
    drain.stop()
    lines = b"".join(iter(drain.take, b"")).splitlines(keepends=True)
    assert [line for line in lines if line in set(others)] == others
    kept = [line for line in lines if line not in set(others)]
    assert kept == [line for line in events if line in set(kept)] and kept
    assert len(kept) + thinning.lines == 8009 and thinning.lines > 4000
    assert drain.received_bytes == sum(map(len, events + others))
    drain.close()


LINES = [f"{HEAD}holds|{n}{TAIL}" for n in range(7)] + [f"{HEAD}name|{n}{TAIL}" for n in range(3)]


@given(
    st.lists(st.sampled_from(LINES), max_size=40),
    st.lists(st.integers(1, 90), min_size=1),
    st.lists(st.booleans(), min_size=1),
    st.integers(0, 400),
)
def test_wherever_pieces_are_cut_lines_stay_whole(lines, sizes, takes, bound):
    stream, drain = "".join(f"{line}\n" for line in lines).encode(), None
    thinning = Thinning(HOLDS)
    reader, writer = os.pipe2(os.O_NONBLOCK)
    drain = Drain(reader, thinning, held_bytes=bound)
    found = b""
    for size, takes_now in zip(cycle(sizes), cycle(takes), strict=False):
        piece, stream = stream[:size], stream[size:]
        drain._keep(piece)
        found += drain.take() if takes_now else b""
        if not stream:
            break
    os.close(writer)
    drain.start()
    drain.stop()
    found += b"".join(iter(drain.take, b""))
    drain.close()
    os.close(reader)
    assert found.endswith(b"\n") or not found
    kept = found.decode().splitlines()
    rest = iter(lines)
    assert all(line in rest for line in kept), "in order, and none twice"
    assert len(kept) + thinning.lines == len(lines)
    if bound == 400 and sum(map(len, lines)) < 400:
        assert kept == lines


def test_lines_that_come_thick_are_taken_many_at_once(fifo, monkeypatch):
    """A read for each would cost more than the lines; one that comes alone does not wait."""
    monkeypatch.setattr(drain_module, "PAUSE_MS", 10**6)  # what ends a pause is the stop
    reader, writer = fifo
    drain = Drain(reader, Thinning({}))
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
    drain = Drain(reader, Thinning({}))
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
    drain = Drain(reader, Thinning({}))
    drain.start()
    drain.close()
    assert drain.received_bytes == 0
    os.close(reader)
