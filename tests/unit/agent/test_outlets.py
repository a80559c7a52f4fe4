"""The textfile, and what is done at intervals."""

import threading

import pytest

from mmaplock_bt.agent import outlets
from mmaplock_bt.agent.config import Config
from mmaplock_bt.agent.outlets import Outlets, Textfile
from mmaplock_bt.errors import UsageError


def test_a_file_is_written_whole_again_and_again(tmp_path):
    place, texts = tmp_path / "a.prom", [b"one\n", b"two\n"]
    one = Textfile(str(place), lambda: texts.pop(0), pytest.fail)
    one.run()
    assert place.read_bytes() == b"one\n"
    one.run()
    assert place.read_bytes() == b"two\n"
    assert list(tmp_path.iterdir()) == [place]


def test_a_fault_is_told_once_while_it_lasts(tmp_path, monkeypatch):
    said = []
    one = Textfile(str(tmp_path / "a.prom"), lambda: b"x", said.append)
    write = outlets.files.write

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(outlets.files, "write", full)
    one.run()
    one.run()
    assert len(said) == 1 and "No space left" in said[0]
    monkeypatch.setattr(outlets.files, "write", write)
    one.run()
    monkeypatch.setattr(outlets.files, "write", full)
    one.run()
    assert len(said) == 2


def test_a_folder_that_is_not_there_is_told_at_once(tmp_path):
    with pytest.raises(UsageError, match="there is no folder"):
        Textfile(str(tmp_path / "none/a.prom"), lambda: b"", print)


def test_a_fault_of_ours_is_told_and_is_not_the_end():
    said = threading.Semaphore(0)
    with outlets.every(1, lambda: 1 / 0, lambda sentence: said.release()):
        assert said.acquire(timeout=30) and said.acquire(timeout=30)


def test_work_is_done_at_once_and_again_and_not_afterwards():
    done = threading.Semaphore(0)
    count = []

    def work():
        count.append(1)
        done.release()

    with outlets.every(1, work, pytest.fail):
        for _ in range(3):
            assert done.acquire(timeout=30)
    after = len(count)
    assert not done.acquire(timeout=0.3) or len(count) == after


def _to(place) -> Config:
    return Config.model_validate({"textfile": {"path": str(place), "every": "1h"}})


def test_another_configuration_is_followed(tmp_path):
    """What was written for the one before would be read as if it were of now."""
    first, second = tmp_path / "a.prom", tmp_path / "b.prom"
    with Outlets(list, pytest.fail) as outs:
        for place in (first, second):
            outs.follow(_to(place))
            outs.follow(_to(place))
        outs.follow(_to(second))
        assert not first.exists()
        with pytest.raises(UsageError, match="there is no folder"):
            outs.follow(_to(tmp_path / "none/c.prom"))
    assert [*tmp_path.iterdir()] == [second]


def test_requests_are_counted_on_for_another_receiver(monkeypatch):
    class Pusher:
        def __init__(self, url, _host, _told, _say, before):
            self.sent, self.dropped = (before.sent + 7, 0) if before else (0, 0)

        def run(self):
            pass

    monkeypatch.setattr(outlets, "_library", lambda: type("Module", (), {"Pusher": Pusher}))
    with Outlets(list, pytest.fail) as outs:
        for turn in range(3):
            outs.follow(Config.model_validate({"otlp": {"url": f"http://a/{turn}"}}))
        (family,) = outs.told()
        assert family.samples[0].value == 14
        outs.follow(Config())
        assert outs.told() == []
