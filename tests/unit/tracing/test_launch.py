"""A started bpftrace: what is held for it, and for how long."""

import os
from pathlib import Path

import pytest

from mmaplock_bt.machine import held_btf
from mmaplock_bt.tracing.launch import Launch, Order

RAW = "BEGIN { }\nrawtracepoint:mmap_lock_released { }\n"
TRACEPOINTS = "BEGIN { }\ntracepoint:mmap_lock:mmap_lock_released { }\n"


@pytest.fixture
def launched(fake):
    """Launches scripts, by a bpftrace that does nothing, and ends them."""
    made = []
    path = fake("exec sleep 60")

    def launch(text):
        made.append(Launch(Order([path], {}, text)))
        return made[-1]

    yield launch
    for one in made:
        one.end()
        assert not Path(one.folder).exists() and not one.process.alive


def test_a_btf_is_held_from_before_raw_tracepoints_are_asked_for_until_they_are_live(
    launched, monkeypatch
):
    reader, writer = os.pipe()  # its end stands for the descriptor's close
    monkeypatch.setattr(held_btf, "load", lambda: writer)
    one = launched(RAW)
    os.fstat(writer)
    one.is_live()
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_none_is_held_where_none_is_asked_for(launched, monkeypatch):
    monkeypatch.setattr(held_btf, "load", lambda: pytest.fail("loaded"))
    launched(TRACEPOINTS)


def test_the_script_is_for_nobody_else_and_gone_once_it_is_live(launched):
    one = launched(RAW)
    script = Path(one.script)
    assert script.read_text() == RAW
    assert script.stat().st_mode & 0o77 == 0 == script.parent.stat().st_mode & 0o77
    one.is_live()
    assert not script.parent.exists()


def test_what_cannot_be_started_leaves_no_folder(tmp_path, fake, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(os, "forkpty", lambda: (_ for _ in ()).throw(OSError(2, "no pty")))
    with pytest.raises(OSError, match="no pty"):
        Launch(Order([fake("")], {}, TRACEPOINTS))
    assert not list(tmp_path.glob("mmaplock-bt-*"))
