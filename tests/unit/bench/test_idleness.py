"""When a tracer has nothing more to do."""

import pytest

from bench import idleness
from bench.idleness import TICKS, Idleness, ticks


@pytest.fixture
def proc(tmp_path):
    """Writes a process with a name that has blanks and brackets."""

    def process(pid, parent, used):
        (tmp_path / str(pid)).mkdir(exist_ok=True)
        fields = ["S", str(parent), *["0"] * 9, str(used), "0", *["0"] * 9]
        (tmp_path / f"{pid}/stat").write_text(f"{pid} (a ) b) {' '.join(fields)}\n")

    process.folder = tmp_path
    process(1, 0, 1000)
    process(7, 1, 3)
    process(8, 7, 4)
    process(9, 8, 5)
    process(10, 1, 50)
    return process


def test_a_process_and_its_descendants(proc):
    assert ticks(7, proc.folder) == 12
    assert ticks(4242, proc.folder) == 0


def test_idle_after_work(proc, monkeypatch):
    now = iter([0.0, 1.0, 10.0, 20.0])
    monkeypatch.setattr(idleness.time, "monotonic", lambda: next(now))
    one = Idleness(7, proc.folder)
    assert not one.is_idle()  # no time to tell
    proc(9, 8, 5 + 5 * TICKS)
    assert not one.is_idle()
    proc(9, 8, 5 + 5 * TICKS + TICKS // 2)
    assert one.is_idle()
