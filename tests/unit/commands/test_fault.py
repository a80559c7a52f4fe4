"""What no one foresaw is one sentence and exit code 70; 1 means that a gate failed."""

import errno
import re
import tempfile
from pathlib import Path

import pytest

from mmaplock_bt import renderers
from mmaplock_bt.commands import fault
from mmaplock_bt.errors import Fault, TargetError, UsageError
from tests.builders import STREAM


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("error", [ValueError("a\nb"), MemoryError(), OSError(errno.EIO, "I/O")])
def test_the_last_resort(cli, monkeypatch, error):
    def broken(*_, **__):
        raise error

    monkeypatch.setattr(renderers, "rendered", broken)
    done = cli("report", str(STREAM))
    assert done.returncode == 70 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and type(error).__name__ in done.stderr
    kept = re.search(r"kept in (\S+): fault.txt", done.stderr)
    assert kept is not None and "in broken" in Path(kept[1], "fault.txt").read_text()


def test_a_failure_is_no_fault():
    with pytest.raises(TargetError), fault.keeping(lambda: {"x": "y"}):
        raise TargetError("a", "b")


def test_what_cannot_be_made_or_written_hides_no_fault(monkeypatch, temporary):
    def unmade():
        raise KeyError("again")

    with pytest.raises(Fault, match=r"ValueError: x.*kept in"), fault.keeping(unmade):
        raise ValueError("x")
    monkeypatch.setattr(tempfile, "tempdir", str(temporary / "none"))
    with pytest.raises(Fault, match="could not be kept"), fault.keeping(dict):
        raise ValueError("x")


def test_a_result_that_cannot_be_delivered_is_kept(temporary):
    with pytest.raises(UsageError) as told, fault.delivering(lambda: {"result.json": "é\udcff"}):
        raise UsageError("cannot write x: full")
    (kept,) = temporary.glob("mmaplock-bt-kept-*/result.json")
    assert str(told.value) == f"cannot write x: full; kept in {kept.parent}: result.json"
    assert kept.read_bytes() == b"\xc3\xa9\xff"
