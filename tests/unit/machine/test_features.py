"""What bpftrace accepts is tried."""

import json
import os
import select
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from mmaplock_bt.errors import TargetError
from mmaplock_bt.machine import features


def test_a_bpftrace_that_cannot_trace_is_tried_again(fake):
    path = fake("exit 1")
    assert not any(features.outcomes(path)[name] for name in features.TRIALS)
    text = Path(path).read_text()
    stat = Path(path).stat()
    Path(path).write_text(text.replace("exit 1", "exit 0"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert features.outcomes(path)["mm_owner"]


TRIES = """
import sys
from mmaplock_bt.errors import TargetError
from mmaplock_bt.machine import features
features.outcomes(sys.argv[1], fresh=True)
"""


def test_no_trial_outlives_a_tool_that_is_killed(fake, tmp_path):
    os.mkfifo(tmp_path / "pids")
    path = fake('echo $$ > "$(dirname "$0")/pids"; exec sleep 60')
    tool = subprocess.Popen([sys.executable, "-c", TRIES, path])
    told = os.fdopen(os.open(tmp_path / "pids", os.O_RDWR))  # never at its end
    with told, ExitStack() as stack:
        begun = [os.pidfd_open(int(told.readline())) for _ in range(os.cpu_count() or 1)]
        for one in begun:
            stack.callback(os.close, one)
            stack.callback(kill, one)
        tool.kill()
        tool.wait()
        assert all(select.select([one], [], [], 30)[0] for one in begun)


def kill(pidfd):
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)


@pytest.fixture
def remembering(fake):
    """A bpftrace that accepts everything and counts its calls, and the file of its outcomes."""
    path = fake('echo >> "$0.calls"; exit 0')
    features.outcomes(path)
    (file,) = (Path(path).parent / "cache/mmaplock-bt").glob("trials-*.json")
    return path, file


def _is_remembered(path: str) -> bool:
    """Whether no trial was made."""
    calls = Path(f"{path}.calls")
    before = calls.stat().st_size
    features.outcomes(path)
    return calls.stat().st_size == before


def test_outcomes_are_remembered(remembering):
    assert _is_remembered(remembering[0])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("memory_controller", "5; system(1)"),
        ("memory_controller", "٣"),
        ("memory_controller", 5),
        ("memory_controller", None),
        (features.OFFSET, "123456"),
        (features.OFFSET, True),
        (features.PLACE, "16384 + 1"),
        (features.REGISTERS, "riscv"),
        ("mm_owner", "yes"),
        ("mm_owner", 1),
        ("per_vma_locks", []),
        ("another", True),
    ],
)
def test_a_fact_of_another_type_is_found_out_anew(remembering, name, value):
    path, file = remembering
    file.write_text(json.dumps(json.loads(file.read_text()) | {name: value}))
    assert not _is_remembered(path)
    assert _is_remembered(path)


@pytest.mark.parametrize("text", ["", "[" * 9999, "{}", "[]", "\0", "\xff", "1" * 70000])
def test_what_is_no_memory_is_found_out_anew(remembering, text):
    path, file = remembering
    file.write_bytes(text.encode("latin-1"))
    assert not _is_remembered(path)


def _fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def _link(file: Path) -> None:
    file.symlink_to(file.rename(file.parent / "theirs"))


@pytest.mark.parametrize(
    "spoiled",
    [
        _fifo,
        _link,
        lambda file: file.chmod(0o666),
        lambda file: file.parent.chmod(0o777),
        pytest.param(
            lambda file: os.chown(file, 65534, 65534),
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="gives files away"),
        ),
    ],
    ids=["fifo", "link", "file of all", "folder of all", "another's"],
)
def test_a_memory_that_somebody_else_may_have_written_is_not_read(remembering, spoiled):
    path, file = remembering
    spoiled(file)
    assert not _is_remembered(path)


WORKS = "n=0; while [ $n -lt 2999999 ]; do n=$((n + 1)); done; echo done"


def test_a_program_that_works_is_waited_for(fake, monkeypatch):
    """An emulated or busy machine takes long; what ends the wait is that nothing is done."""
    monkeypatch.setattr(features, "TIMEOUT_S", 1.0)
    assert features.output(fake(WORKS), "--help") == (0, "done\n")
    monkeypatch.setattr(features, "BUSY_S", 0.0)
    with pytest.raises(TargetError, match="does not answer"):
        features.output(fake(WORKS), "--help")
