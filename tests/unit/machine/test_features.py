"""What bpftrace accepts is tried."""

import json
import os
from pathlib import Path

import pytest

from mmaplock_bt.machine import features


def test_a_bpftrace_that_cannot_trace_is_tried_again(fake):
    path = fake("exit 1")
    assert not any(features.outcomes(path)[name] for name in features.TRIALS)
    text = Path(path).read_text()
    stat = Path(path).stat()
    Path(path).write_text(text.replace("exit 1", "exit 0"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert features.outcomes(path)["mm_owner"]


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
