"""The trap: what springs it, and what bounds it."""

import sys

import pytest

from mmaplock_bt.agent import captures
from mmaplock_bt.agent.captures import Captures
from mmaplock_bt.agent.config import Trap
from mmaplock_bt.errors import UsageError

MS = 10**6
WRITES = "import pathlib, sys; pathlib.Path(sys.argv[1], 'result.json').write_text('x' * 2000)"


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Captures into a folder, by a process that writes 2,000 bytes; and what it says."""
    said = []

    def begun(one, _trap, code=WRITES):
        words = [sys.executable, "-c", code, str(one._place)]
        return captures.subprocess.Popen(words)

    monkeypatch.setattr(Captures, "_begun", begun)

    def make(**changed):
        trap = {"folder": str(tmp_path / "c"), "wait": "300ms", "hold": "1s", "pause": "1ms"}
        return Captures(Trap.model_validate(trap | changed), "bpftrace", said.append), said

    return make


def spring(one, ns=300 * MS, kind="wait", mode="write"):
    one.look({(kind, mode): ns})
    if one._running is not None:
        one._running.wait()
    one._rests_until_ns = 0
    one.look({})


def test_what_springs_it(made):
    one, said = made()
    spring(one, 299 * MS)
    spring(one, 999 * MS, "hold")
    assert one.count == 0 and not said
    spring(one, 300 * MS)
    spring(one, 1000 * MS, "hold")
    assert one.count == 2
    assert said[0].startswith("a wait lasted 300 ms: capturing blame into ")


def test_none_springs_where_there_is_no_limit(made):
    one, _ = made(wait=None)
    spring(one, 10**12)
    assert one.count == 0


def test_their_number_is_bounded_and_that_is_said_once(made):
    one, said = made(captures=2)
    for _ in range(5):
        spring(one)
    assert one.count == 2
    assert [line for line in said if line.startswith("no more captures")] == said[2:]


def test_so_are_their_bytes(made, monkeypatch):
    monkeypatch.setattr(captures, "used", lambda _: 10**12)
    one, said = made()
    spring(one)
    assert one.count == 0 and len(said) == 1


def test_and_how_often(made):
    one, _ = made(pause="1h")
    one.look({("wait", "read"): 10**10})
    one._running.wait()
    one.look({})
    one.look({("wait", "read"): 10**10})
    assert one.count == 1 and one._running is None


def test_one_that_fails_is_told_and_leaves_nothing(made, tmp_path, monkeypatch):
    one, said = made()
    words = [sys.executable, "-c", "raise SystemExit(4)"]
    monkeypatch.setattr(Captures, "_begun", lambda *_: captures.subprocess.Popen(words))
    spring(one)
    assert one.count == 0 and "failed (status 4)" in said[1]
    assert not any((tmp_path / "c").iterdir())


def test_an_open_one_gets_its_mode_once_it_is_over(made):
    one, said = made(pause="1h")
    one.look({("wait", None): 400 * MS})
    assert "a wait lasts for 400 ms" in said[0] and one.last.mode is None
    one.look({("wait", "write"): 900 * MS})
    assert (one.last.mode, one.last.ns) == ("write", 900 * MS)
    one.close()
    assert one.count == 1


def test_a_folder_that_is_a_file(made, tmp_path):
    (tmp_path / "c").write_text("")
    with pytest.raises(UsageError, match="cannot make the folder"):
        made()


def test_a_disk_without_room_is_told_and_it_goes_on(made, tmp_path, monkeypatch):
    one, said = made()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(captures.files, "write", full)
    spring(one)
    assert "cannot capture it" in said[0] and one.count == 0
    assert not any((tmp_path / "c").iterdir())


def test_a_profile_that_there_is_not_is_told_at_once(made):
    with pytest.raises(UsageError, match="nonesuch"):
        made(profile="nonesuch")


def test_another_trap_is_followed_and_a_capture_that_runs_goes_on(made, tmp_path):
    one, said = made(pause="1h")
    one.look({("wait", "write"): 300 * MS})
    one.follow(None)
    one.look({("wait", "write"): 10**10})
    one.close()
    assert one.count == 1 and len(said) == 1
    one.follow(Trap.model_validate({"folder": str(tmp_path / "d"), "wait": "1s", "pause": "1ms"}))
    spring(one, 999 * MS)
    spring(one, 1000 * MS)
    assert one.count == 2 and len([*(tmp_path / "d").iterdir()]) == 1
