"""Names of functions, read in a child: what is made to break the reader costs its own names."""

import io
import os
import signal

from mmaplock_bt.tracing import elf, function_names, perf_map
from mmaplock_bt.tracing.function_names import Asked
from tests.unit.tracing.test_elf import at, file

PLACES = frozenset([at(0x1000), at(0x1095)])


def named(*asked, seconds=10.0):
    return function_names.found(asked, seconds).found


def test_files_and_perf_maps_are_read():
    asked = [
        Asked("elf", "8:1", file(64, "<"), PLACES),
        Asked("perf map", "7", io.BytesIO(b"1000 20 js:f\n"), frozenset([0x1010])),
    ]
    assert named(*asked) == {
        ("elf", "8:1"): {at(0x1000): "one+0", at(0x1095): "foo::bar()+5"},
        ("perf map", "7"): {0x1010: "js:f+16"},
    }
    assert named() == {}


def forever(*_):
    while True:
        signal.pause()


def killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_file_without_end_leaves_time_for_the_others(monkeypatch):
    monkeypatch.setitem(function_names._NAMERS, "perf map", forever)
    slow = Asked("perf map", "7", io.BytesIO(), frozenset(range(9)))
    elf_file = Asked("elf", "8:1", file(64, "<"), PLACES)
    found = function_names.found([slow, elf_file], 4.0)  # of which the first has half
    assert not found.was_read("perf map", "7")
    assert found.of("elf", "8:1", at(0x1000)) == "one+0"


def test_a_name_that_breaks_the_demangler_stays_as_it_is(monkeypatch):
    """Its child is gone, what it had read is not."""
    monkeypatch.setattr(function_names, "_demangled", killed)
    found = named(Asked("elf", "8:1", file(64, "<"), PLACES))
    assert found["elf", "8:1"][at(0x1095)] == "_ZN3foo3barEv+5"


def test_a_name_without_end_is_cut():
    symbols = [("x" * 9999, 0x1000, 0x10, 2)]
    found = named(Asked("elf", "8:1", file(64, "<", symbols), PLACES))
    assert found == {("elf", "8:1"): {at(0x1000): "x" * elf.NAME + "+0"}}
    found = named(Asked("perf map", "1", io.BytesIO(b"0 9 " + b"x" * 9999), frozenset([1])))
    assert found == {("perf map", "1"): {1: "x" * perf_map.NAME + "+1"}}
