"""perf maps: which are read, and what they name."""

import io
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmaplock_bt.tracing import perf_map

LINES = b"""7f0000001000 20 LazyCompile:~add /srv/app.js:3:1
7f0000001020 10 Builtin:Exit
0x7f0000002000 0x40 void Main.run()
"""


def told(text: bytes, *addresses: int) -> dict[int, str]:
    found = perf_map.names(io.BytesIO(text), addresses)
    return {address: f"{name}+{into}" for address, (name, into) in found.items()}


def test_addresses_are_named_by_the_range_that_holds_them():
    assert told(LINES, 0x7F0000001000, 0x7F000000101F, 0x7F0000001020, 0x7F0000002005) == {
        0x7F0000001000: "LazyCompile:~add /srv/app.js:3:1+0",
        0x7F000000101F: "LazyCompile:~add /srv/app.js:3:1+31",
        0x7F0000001020: "Builtin:Exit+0",
        0x7F0000002005: "void Main.run()+5",
    }
    assert told(LINES, 0x7F0000000FFF, 0x7F0000001030, 0x7F0000002040) == {}


def test_the_last_line_counts_where_code_was_compiled_again():
    assert told(b"1000 20 old\n1000 10 new\n", 0x1008, 0x1018) == {
        0x1008: "new+8", 0x1018: "old+24"
    }  # fmt: skip


@pytest.mark.parametrize(
    "broken", [b"", b"\n\n", b"zz 1 f\n", b"1000 20\n", b"1000\n", b"1000 -20 f\n", b"\xff\x00"]
)
def test_lines_that_are_none_are_passed_over(broken):
    assert told(broken + b"\n2000 8 f\n" + broken, 0x1001, 0x2001) == {0x2001: "f+1"}


def test_a_name_that_is_no_utf_8_can_be_written():
    assert told(b"1000 20 \xffa\x1bb\n", 0x1000) == {0x1000: "\\xffa\x1bb+0"}


@given(st.binary(), st.lists(st.integers(0, 2**64 - 1), max_size=4))
def test_no_map_breaks_it(text, addresses):
    assert set(told(text, *addresses)) <= set(addresses)


@pytest.fixture
def path():
    """The perf map of this very process."""
    made = Path(f"/tmp/perf-{os.getpid()}.map")
    if made.exists():
        pytest.skip(f"{made} is there already")
    yield made
    made.unlink(missing_ok=True)


def is_opened() -> bool:
    with suppress(OSError):
        return is_there(perf_map.opened(os.getpid()))
    return False


def is_there(file: BinaryIO | None) -> bool:
    if file is not None:
        file.close()
    return file is not None


def test_a_process_own_file_is_opened(path):
    assert not is_opened()
    path.write_bytes(LINES)
    assert is_opened()


def test_a_link_is_not_followed(path, tmp_path):
    (tmp_path / "map").write_bytes(LINES)
    path.symlink_to(tmp_path / "map")
    assert not is_opened()


def test_a_pipe_is_not_waited_for(path):
    os.mkfifo(path)
    assert not is_opened()


def test_a_file_beyond_the_limit_is_not_read(path):
    with path.open("wb") as file:
        file.truncate(perf_map.MAX_BYTES + 1)
    assert not is_opened()
    os.truncate(path, perf_map.MAX_BYTES)
    assert is_opened()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the file is given to somebody else")
def test_another_users_file_is_not_read(path):
    path.write_bytes(LINES)
    os.chown(path, 65534, 65534)
    assert not is_opened()


def test_the_map_of_an_earlier_process_of_that_id_is_not_read(path):
    path.write_bytes(LINES)
    os.utime(path, (1, 1))
    assert not is_opened()


GONE = 2**22 + 1  # above the largest pid


def test_a_process_that_is_gone_has_none():
    with pytest.raises(OSError, match="No such"):
        perf_map.opened(GONE)
    with pytest.raises(OSError, match="No such"):
        perf_map.opened_afterwards(GONE, time.time())


def test_what_our_own_command_left_is_read(path):
    path.write_bytes(LINES)
    file = perf_map.opened_afterwards(os.getpid(), time.time())
    assert file is not None
    file.close()
    assert perf_map.opened_afterwards(os.getpid(), time.time() + 3600) is None
