"""A started bpftrace: what is held for it, and for how long."""

import os
import select

import pytest

from mmaplock_bt.machine import held_btf
from mmaplock_bt.tracing.launch import Launch, Order

RAW = "BEGIN { }\nrawtracepoint:mmap_lock_released { }\n"
TRACEPOINTS = "BEGIN { }\ntracepoint:mmap_lock:mmap_lock_released { }\n"
DELETES = TRACEPOINTS.replace("{ }\n", "{ delete(@x[(uint64)tid]); }\n")
LONG = "x" * (1 << 20)


@pytest.fixture
def launched(fake):
    """Launches scripts, by a bpftrace that does what it is told, and ends them."""
    made = []

    def launch(text, does="exec sleep 60"):
        made.append(Launch(Order([fake(does)], {}, text)))
        return made[-1]

    yield launch
    for one in made:
        one.end()
        assert not one.process.alive


def heard(one: Launch) -> bytes:
    """All that comes by its stream, until nobody has its other end."""
    found = b""
    while select.select([one.stream], [], [], 30)[0]:
        piece = os.read(one.stream, 1 << 16)
        if not piece:
            return found
        found += piece
    raise AssertionError("its stream has no end")


@pytest.mark.parametrize("text", [RAW, DELETES], ids=["raw tracepoints", "delete()"])
def test_a_btf_is_held_where_a_bpftrace_looks_for_one_until_its_probes_are_live(
    launched, monkeypatch, text
):
    reader, writer = os.pipe()  # its end stands for the descriptor's close
    monkeypatch.setattr(held_btf, "load", lambda: writer)
    one = launched(text)
    os.fstat(writer)
    one.is_live()
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_none_is_held_where_none_is_asked_for(launched, monkeypatch):
    monkeypatch.setattr(held_btf, "load", lambda: pytest.fail("loaded"))
    launched(TRACEPOINTS)


@pytest.mark.parametrize("text", [TRACEPOINTS, LONG], ids=["short", "long"])
def test_the_script_arrives_and_its_stream_comes_back_and_nothing_is_on_disk(
    launched, tmp_path, monkeypatch, text
):
    """As bpftrace does it: -f json -o STREAM SCRIPT, and the pids."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    one = launched(text, 'cat "$5" > "$4"; echo "$6 $7 $8" > "$4"')
    one.tell([1, 22, 333])
    assert heard(one) == text.encode() + b"1 22 333\n"


def test_it_inherits_nothing_but_its_own(launched):
    """The standard streams, the script and the stream; the last is ls' own."""
    one = launched(TRACEPOINTS, 'exec ls -l /proc/self/fd > "$4"')
    one.tell([1])
    links = [line.split(" -> ")[1] for line in heard(one).decode().splitlines()[1:]]
    kinds = [name.partition(":")[0].partition(" ")[0] for name in links]
    assert len(links) == 6 and kinds.count("/memfd") == 1
    assert sum(name.startswith("pipe:") for name in links) == 2


def test_what_cannot_be_started_leaves_no_descriptor(fake, monkeypatch):
    monkeypatch.setattr(os, "forkpty", lambda: (_ for _ in ()).throw(OSError(2, "no pty")))
    before = os.listdir("/proc/self/fd")  # noqa: PTH208
    with pytest.raises(OSError, match="no pty"):
        Launch(Order([fake("")], {}, TRACEPOINTS))
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208
