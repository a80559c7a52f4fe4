import pytest

from mmaplock_bt.commands import trap
from mmaplock_bt.errors import UsageError
from mmaplock_bt.spec import declaration


def test_limits():
    assert trap.parse(["hold > 50ms", "wait>=1s"]) == {"hold": 50_000_000, "wait": 10**9}


@pytest.mark.parametrize("text", ["hold", "hold < 5ms", "held > 5ms", "hold > 5", "wait > 5us"])
def test_wrong_limits(text):
    with pytest.raises(UsageError):
        trap.parse([text])


class Capture:
    """A capture that ends when it is told to."""

    def __init__(self):
        self.returncode = None

    def poll(self):
        return self.returncode

    def wait(self):
        self.returncode = 0


def line(ns: int) -> str:
    row = f"holds|5|{ns}|0|1|1|" + "\\\\x61" * 1 + "|0|1|\\\\x61|0|0|ab|"
    return '{"type": "printf", "data": "' + row + '"}'


def test_it_arms_again_and_ends_with_enough(tmp_path, monkeypatch):
    watching = declaration.shipped("_trap")
    started = []
    limits = trap.Limits({"hold": 100}, keep=2, captures=2, disk_bytes=10**9)
    monkeypatch.setattr(trap.Trap, "_before", lambda self: None)
    monkeypatch.setattr(trap, "to_json", lambda _: "{}")
    outputs = watching.declaration.outputs

    def capture(_place):
        started.append(Capture())
        return started[-1]

    one = trap.Trap(outputs, limits, tmp_path, capture, lambda _: None)

    def lines():
        yield "header"
        yield line(99)
        assert not started
        yield line(100)
        assert len(started) == 1
        yield line(500)  # while it captures
        assert len(started) == 1
        started[0].returncode = 0
        yield line(500)
        assert len(started) == 2
        started[1].returncode = 0
        yield line(1)
        raise AssertionError("two are enough")

    assert len(one.watch(lines())) == 2
    assert len(one.recent) == 2, "the last ones only"
