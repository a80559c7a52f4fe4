"""Floods of known size through the real program: recorded + told as lost = what the books say."""

import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

from mmaplock_bt import workload
from tests.builders import TESTS
from tests.kernel.processes import begun
from tests.kernel.results import loaded

pytestmark = pytest.mark.kernel

MINCORES = """
import ctypes, mmap, sys
libc, page = ctypes.CDLL(None), mmap.mmap(-1, 4096)
at, seen = ctypes.addressof(ctypes.c_char.from_buffer(page)), ctypes.create_string_buffer(1)
mincore = libc.mincore
mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
"""
LOOP = MINCORES + "for _ in range(int(sys.argv[1])): mincore(at, 4096, seen)"
FOR_EVER = MINCORES + "print('up', flush=True)\nwhile True: mincore(at, 4096, seen)"
EVERY_HOLD = ("long-holds", "--set", "threshold=0")
MOST_KB = 150_000
# In front of everything; {then} puts a fault in.
BROKEN = """
import os, re
from mmaplock_bt.tracing import bpftrace, drain
end = os._exit
def told(code):
    status = open("/proc/self/status").read()
    with open({peak!r}, "a") as file:
        print(re.search(r"VmHWM:\\s+(\\d+)", status)[1], file=file)
    end(code)
os._exit = told
{then}
"""
FAULTS = {
    "tiny buffers": "bpftrace.Tracer._buffer_pages = lambda self: 1",
    "a reader without room": "drain.Drain.__init__.__defaults__ = (1 << 12,)",
    "no time for what is buffered": "bpftrace.REST_GRACE_S = 0",
}


@pytest.fixture
def flooded(cli, kernel, tmp_path):
    """Runs a profile over so many mincores, a fault put in; returns the result and its stderr.

    This process's memory at its peak is checked as well.
    """

    def run(count: int, then: str, *words: str, code: int = 0):
        peak, saved = tmp_path / "peak", tmp_path / "result.json"
        (tmp_path / "sitecustomize.py").write_text(BROKEN.format(peak=str(peak), then=then))
        variables = {"PYTHONPATH": f"{tmp_path}:{TESTS.parent}"}
        command = ("--", sys.executable, "-S", "-c", LOOP, str(count))
        done = cli("run", *words, "-o", str(saved), "--format", "none", *command, env=variables)
        assert done.returncode == code, done.stderr
        assert max(map(int, peak.read_text().split())) < MOST_KB
        return loaded(saved.read_text()), done.stderr

    return run


def recorded(result) -> int:
    holds = result.outputs["long_holds"]
    return len(holds.rows) if holds.total is None else holds.total


def counted(result) -> int:
    """Holds in the histogram: a map, which is not lost."""
    return sum(row["count"] for row in result.histogram("hold"))


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_lost_is_told_to_the_line(flooded, fault):
    gate = ("--gate", "long_holds.count < 100")
    result, _ = flooded(20_011, FAULTS[fault], *EVERY_HOLD, *gate, code=5)
    lost = result.loss.lost_lines["long_holds"]
    assert recorded(result) + lost == counted(result) >= 20_011
    assert lost > 0 and result.loss.lost_events >= lost and not result.loss.complete
    assert (
        result.verdicts[0].outcome == "inconclusive" and "lost events" in result.verdicts[0].reason
    )
    assert f"{lost:,} long_holds were lost" in result.outputs["long_holds"].lacks


def test_a_flood_takes_no_memory_and_is_told_to_the_line(flooded):
    """0.27.1 loses most of what comes at once and says that it lost nothing."""
    result, _ = flooded(100_003, "", *EVERY_HOLD)
    lost = result.loss.lost_lines.get("long_holds", 0)
    assert recorded(result) + lost == counted(result)
    assert 100_003 <= counted(result) < 103_000
    assert result.loss.complete == (result.loss.lost_events == 0)


def test_a_reader_that_left_events_out_says_so(flooded):
    result, said = flooded(20_011, FAULTS["a reader without room"], *EVERY_HOLD)
    assert 0 < result.loss.dropped_lines <= result.loss.lost_events
    assert said.count("events come faster than they are read") == 1
    assert result.books.residue == 0, "the books are not left out"


def test_maps_of_16_keys_are_told_and_take_no_memory(flooded, tmp_path):
    profile = tmp_path / "few.yaml"
    profile.write_text("extends: long-holds\nmap_keys: 16\nparams: {threshold: 0}\n")
    result, _ = flooded(20_011, "", str(profile))
    assert result.loss.map_full > 0 and not result.loss.complete


# Before bpftrace: its maps of stacks (BPF_MAP_TYPE_STACK_TRACE, LRU_HASH) have one place.
TINY = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <sys/syscall.h>
struct map { unsigned type, key_bytes, value_bytes, entries; };
long syscall(long number, ...) {
  long a[6];
  va_list given;
  va_start(given, number);
  for (int i = 0; i < 6; i++) a[i] = va_arg(given, long);
  va_end(given);
  struct map *map = (struct map *)a[1];
  if (number == SYS_bpf && a[0] == 0 && (map->type == 7 || map->type == 9)) map->entries = 1;
  long (*real)(long, ...) = dlsym(RTLD_NEXT, "syscall");
  return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
"""


@pytest.fixture
def forgetful(tmp_path, monkeypatch):
    """A bpftrace whose maps of stacks have one place."""
    compiler = shutil.which("cc") or pytest.skip("no C compiler: nothing makes its maps smaller")
    shared, path = tmp_path / "tiny.so", tmp_path / "bpftrace-tiny"
    (tmp_path / "tiny.c").write_text(TINY)
    words = [compiler, "-shared", "-fPIC", "-o", str(shared), str(tmp_path / "tiny.c"), "-ldl"]
    subprocess.run(words, check=True)
    real = os.environ.get("MMAPLOCK_BPFTRACE") or shutil.which("bpftrace")
    path.write_text(f'#!/bin/sh\nLD_PRELOAD={shared} exec {real} "$@"\n')
    path.chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return str(path)


def test_stacks_that_a_map_has_no_room_for_are_told_to_the_stack(cli, kernel, forgetful, tmp_path):
    """0.17 says so itself; releases that keep them in an LRU map lose them without a word."""
    saved = tmp_path / "r.json"
    gates = ("--gate", "causes{cause=munmap}.count > 1", "--gate", "long_holds.count > 1")
    done = cli("run", *EVERY_HOLD, "--set", "user_stack=0", "--bpftrace", forgetful, *gates,
               "-o", str(saved), "--", *workload.command("munmaps", 101))  # fmt: skip
    result = loaded(saved.read_text())
    stacks = [row["kernel_stack"] for row in result.outputs["long_holds"].rows]
    assert len(stacks) == counted(result), "all of them are rows"
    lost = sum(not [frame for frame in one if not frame.startswith("madvise(")] for one in stacks)
    if lost == 0:
        pytest.skip("this bpftrace keeps stacks in no map")
    assert result.loss.stack_errors == lost > 101 and not result.loss.complete
    assert f"stack errors {lost:,}" in done.stdout
    assert done.returncode == 5, "what rests on stacks is not known"
    assert [one.outcome for one in result.verdicts] == ["inconclusive", "pass"]


def test_ctrl_c_in_a_flood_ends_it_and_is_told(kernel):
    """At most what its one thread held at that moment is in neither."""
    flood = subprocess.Popen(
        [sys.executable, "-S", "-c", FOR_EVER], stdout=subprocess.PIPE, text=True
    )
    try:
        assert flood.stdout.readline() == "up\n"
        run = begun(*EVERY_HOLD, "-p", str(flood.pid), "--mode", "read", "--format", "json")
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=100)
    finally:
        flood.kill()
        flood.wait()
    assert run.returncode == 0, err
    result = loaded(out)
    told = recorded(result) + result.loss.lost_lines.get("long_holds", 0)
    assert result.window.ended_by == "interrupt"
    assert 0 <= counted(result) - told <= 1 and told > 0


def test_a_stream_that_is_analysed_again_says_the_same(flooded, cli, tmp_path):
    raw = tmp_path / "raw.ndjson"
    words = (*EVERY_HOLD, "--save-raw", str(raw))
    result, _ = flooded(5003, FAULTS["a reader without room"], *words)
    again = cli("report", str(raw), "--format", "json")
    assert again.returncode == 0, again.stderr
    assert loaded(again.stdout).loss == result.loss
    assert re.search(r'"@printed_long_holds": \d+', raw.read_text())
