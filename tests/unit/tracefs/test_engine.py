"""From events to a result: the window, the filters, owners and threads, gaps; and the instance."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from mmaplock_bt.errors import TargetError
from mmaplock_bt.machine import inventory
from mmaplock_bt.script.render import render
from mmaplock_bt.spec import profile
from mmaplock_bt.spec.profile import merge
from mmaplock_bt.stream import bpftrace_json
from mmaplock_bt.stream.records import Decoder, Events, Look, Named, Thread, Whose
from mmaplock_bt.tracefs import instance
from mmaplock_bt.tracefs.engine import Engine
from mmaplock_bt.tracefs.pages import ACQUIRED, EXIT, GAP, NAMED, NEW, RELEASED, START
from mmaplock_bt.tracefs.threads import Thread as Known

MACHINE = replace(inventory.offline(), facts={"engine": "tracefs"})
TRACER, TOOL, ROOT, OTHER = 3, 5, 11, 23
MM = 0xFFFF888000000100
MUNMAP, SMAPS = (1, 2), (3, 4)
NAMES = {1: "__vm_munmap+1", 2: "do_syscall_64+2", 3: "show_smaps_rollup+3", 4: "seq_read+4"}


class Window:
    """An engine whose window is open from 100 on."""

    def __init__(self, name="long-holds", *, tree=False, given=None, **params):
        chosen = profile.load(name)
        settings = [f"{one}={value}" for one, value in params.items()]
        chosen = profile.with_params(chosen, settings)
        chosen = replace(chosen, filter=merge(chosen.filter, given or {}))
        self.script = render(chosen, MACHINE, tree=tree)
        self.engine = Engine(self.script.plan, TRACER, TOOL, ROOT, lambda tid: [f"now_{tid}+1"])
        self.engine.symbols.name = NAMES.__getitem__
        for pid, comm in ((TRACER, b"tracer"), (TOOL, b"tool"), (ROOT, b"root"), (OTHER, b"other")):
            self.engine.threads.known[pid] = Known(pid, comm)
        self.take([100, NAMED, TOOL, TOOL, b"mmaplock-bt/on\0\0"])

    def take(self, *events):
        self.engine.take(events)
        return self

    def hold(self, tid, began, ended, stack=MUNMAP, mode=1):
        return self.take(
            [began, START, tid, MM, 7, mode, 1, ()],
            [began, ACQUIRED, tid, MM, 7, mode, 1, ()],
            [ended, RELEASED, tid, MM, 7, mode, 1, stack],
        )

    def close(self, now_ns=10**9):
        return self.take([now_ns, NAMED, TOOL, TOOL, b"mmaplock-bt/off\0"])

    def said(self, lost=0):
        self.engine.end(lost)
        lines = self.engine.lines.take().decode().splitlines()
        return list(Decoder(self.script.outputs).decode(lines))

    def rows(self, name="long_holds"):
        found = [one for one in self.said() if isinstance(one, Events) and one.output == name]
        return [dict(zip(one.names, row, strict=True)) for one in found for row in one.rows]

    def maps(self):
        return {
            m.name: dict(m.entries) for m in self.said() if isinstance(m, bpftrace_json.MapDump)
        }


def test_a_long_hold_is_a_row_with_actor_owner_and_stack():
    (row,) = Window(threshold=0).hold(ROOT, 200, 231).rows()
    assert (row["hold_ns"], row["mode"], row["pid"], row["comm"]) == (31, "write", ROOT, "root")
    assert (row["owner_pid"], row["owner_comm"], row["owner_kind"]) == (ROOT, "root", "process")
    assert row["kernel_stack"] == ["__vm_munmap+1", "do_syscall_64+2"]
    assert (row["mm"], row["cgroup"], row["user_stack"]) == (f"0x{MM:x}", 7, [])


def test_a_foreign_hold_is_told_once_the_owner_is_known_and_is_unknown_before():
    window = Window(threshold=0).hold(OTHER, 200, 210, SMAPS, 0).hold(ROOT, 220, 230)
    first, _, last = window.hold(OTHER, 240, 250, SMAPS, 0).rows()
    assert (first["owner_pid"], first["owner_kind"]) == (0, "unknown")
    assert (last["owner_pid"], last["owner_comm"], last["pid"]) == (ROOT, "root", OTHER)


def test_what_is_before_and_after_the_window_and_the_tool_s_own_is_left_out():
    window = Window(threshold=0)
    window.hold(TOOL, 200, 210).hold(TRACER, 200, 210).hold(ROOT, 200, 213)
    window.close(300).hold(ROOT, 310, 320)
    maps = window.maps()
    assert sum(maps["hold"].values()) == 1
    assert (maps["hold_sum"], maps["book_releases"], maps["closed"]) == (
        {"1": 13},
        {"": 1},
        {"": 300},
    )


def test_a_hold_that_began_before_the_window_is_in_no_book():
    window = Window(threshold=0)
    window.take([120, RELEASED, ROOT, MM, 7, 1, 1, MUNMAP])
    maps = window.maps()
    assert (maps["book_orphan_releases"], maps["book_releases"]) == ({"": 1}, {"": 0})


def test_open_spans_are_counted_and_looked_at_with_their_parties():
    window = Window("overview", threshold="1us")
    window.take(
        [200, START, ROOT, MM, 7, 1, 1, ()],
        [210, ACQUIRED, ROOT, MM, 7, 1, 1, ()],
        [220, START, OTHER, MM, 7, 0, 1, ()],
    ).close(10**6)
    said = window.said()
    (look,) = [one for one in said if isinstance(one, Look)]
    assert look.last and {(s.state, s.tid, s.since_ns) for s in look.spans} == {
        ("hold", ROOT, 210), ("wait", OTHER, 220)
    }  # fmt: skip
    assert look.stacks[str(OTHER)] == [f"now_{OTHER}+1"]
    assert {one.pid for one in said if isinstance(one, Thread)} == {ROOT, OTHER}
    assert any(isinstance(one, Whose) for one in said)
    maps = {m.name: dict(m.entries) for m in said if isinstance(m, bpftrace_json.MapDump)}
    assert len(maps["holding"]) == len(maps["waiting"]) == 1


@pytest.mark.parametrize(
    ("given", "counted"),
    [
        ({"actor": {"pid": [OTHER]}}, 1),
        ({"actor": {"comm": "root"}}, 2),
        ({"actor": {"pid": [ROOT], "descendants": True}}, 3),
        ({"mode": "read"}, 1),
        ({"mode": "write"}, 3),
        ({}, 4),
    ],
)
def test_filters_on_the_actor_and_the_mode(given, counted):
    window = Window("hold-times", given=given)
    window.take([150, NEW, ROOT, 31, b"child\0", 0])
    window.hold(ROOT, 200, 210).hold(ROOT, 220, 230).hold(OTHER, 220, 230, mode=0)
    window.hold(31, 240, 250)
    assert sum(window.maps().get("hold", {}).values()) == counted


def test_of_a_command_s_tree_only_its_processes_are_actors():
    window = Window("hold-times", tree=True)
    window.take([150, NEW, ROOT, 31, b"child\0", 0], [151, NEW, 31, 37, b"grand\0", 0])
    window.hold(ROOT, 200, 210).hold(31, 200, 210).hold(37, 200, 210).hold(OTHER, 200, 210)
    assert sum(window.maps()["hold"].values()) == 3


def test_after_a_gap_what_was_open_is_residue_and_no_long_hold():
    window = Window(threshold=0)
    window.take([200, ACQUIRED, ROOT, MM, 7, 1, 1, ()], [300, GAP, 0, 250, 23])
    window.take([400, RELEASED, ROOT, MM, 7, 1, 1, MUNMAP])
    said = window.said(lost=23)
    assert not any(isinstance(one, Events) for one in said)
    assert bpftrace_json.Lost(23) in said
    maps = {m.name: dict(m.entries) for m in said if isinstance(m, bpftrace_json.MapDump)}
    assert (maps["book_acquires"], maps["book_releases"]) == ({"": 1}, {"": 0})


def test_a_full_map_is_told_as_bpftrace_s():
    window = Window("hold-times")
    window.engine._tallies._room = 3
    for turn in range(5):
        window.hold(ROOT, 200, 200 + 1000 * turn)
    dropped = [one for one in window.said() if type(one).__name__ == "Dropped"]
    assert [one.map_full for one in dropped] == [2]


def test_a_hostile_name_breaks_no_record():
    window = Window(threshold=0)
    window.engine.threads.known[ROOT] = Known(ROOT, b'a"|\n\x1b[31m\xff')
    (row,) = window.hold(ROOT, 200, 231).rows()
    assert row["comm"] == 'a"|\n\x1b[31m\\xff'


def test_a_process_in_a_key_is_named_once_and_again_after_a_rename():
    window = Window("foreign-holds", threshold=0)
    window.hold(ROOT, 200, 210)
    for began in (220, 240):
        window.hold(OTHER, began, began + 5, SMAPS, 0)
    window.take([260, NAMED, OTHER, OTHER, b"agent\0"]).hold(OTHER, 270, 280, SMAPS, 0)
    named = [(one.pid, one.comm) for one in window.said() if isinstance(one, Named)]
    assert sorted(named) == [(ROOT, "root"), (OTHER, "agent"), (OTHER, "other")]


def test_a_thread_that_has_exited_still_lets_go():
    window = Window(threshold=0).take([150, EXIT, ROOT, ROOT])
    (row,) = window.hold(ROOT, 200, 231).rows()
    assert row["pid"] == ROOT


def test_its_lines_are_read_without_the_parser():
    window = Window(threshold=0).hold(ROOT, 200, 231)
    decoder = Decoder(window.script.outputs)
    lines = window.engine.lines.take().decode().splitlines()
    assert all(decoder.reads(line) for line in lines)
    assert all(json.loads(line)["type"] == "printf" for line in lines)


def test_only_instances_of_processes_that_are_gone_are_left(tmp_path):
    instances = tmp_path / "instances"
    own = instance.name(1)
    again = f"mmaplock-bt-1-{instance.started(1) + 1}"  # the id is another's by now
    gone = "mmaplock-bt-4194305-7"
    for name in (own, again, gone, "mmaplock-bt-x", "somebody-elses"):
        (instances / name).mkdir(parents=True)
    assert sorted(instance.remove_left(tmp_path)) == sorted([again, gone])
    assert {one.name for one in instances.iterdir()} == {own, "mmaplock-bt-x", "somebody-elses"}


# The tool is killed while what it tries is there.
_KILLED = """
import os, signal, sys
from pathlib import Path
from mmaplock_bt.tracefs import instance
tool, removed = os.getpid(), instance.remove
def remove(folder):
    assert folder.is_dir()
    os.kill(tool, signal.SIGKILL)
    removed(folder)
instance.remove = remove
instance.check(Path(sys.argv[1]))
"""


def test_a_trial_leaves_nothing_where_the_tool_is_killed_meanwhile(tmp_path):
    (tmp_path / "instances").mkdir()
    argv = [sys.executable, "-c", _KILLED, str(tmp_path)]
    done = subprocess.run(argv, check=False, capture_output=True)  # until the child ends, too
    assert (done.returncode, done.stderr) == (-signal.SIGKILL, b"")
    assert not list((tmp_path / "instances").iterdir())


def test_a_trial_tells_why_there_can_be_none(tmp_path):
    with pytest.raises(TargetError, match="instances: No such file or directory"):
        instance.check(tmp_path)
    (tmp_path / "instances").mkdir()
    instance.check(tmp_path)
    assert not list((tmp_path / "instances").iterdir())


def test_a_process_that_has_ended_is_gone_though_nobody_has_taken_note(tmp_path):
    ended = os.fork()
    if ended == 0:
        os._exit(0)
    os.waitid(os.P_PID, ended, os.WEXITED | os.WNOWAIT)
    name = f"mmaplock-bt-{ended}-7"
    try:
        (tmp_path / "instances" / name).mkdir(parents=True)
        with pytest.raises(ProcessLookupError):
            instance.started(ended)
        assert instance.remove_left(tmp_path) == [name]
    finally:
        os.waitpid(ended, 0)


def test_what_was_overwritten_or_is_not_read_is_lost(tmp_path):
    own = instance.Instance(tmp_path)
    for cpu, entries in enumerate((7, 11)):
        folder = own.path / f"per_cpu/cpu{cpu}"
        folder.mkdir(parents=True)
        told = f"entries: {entries}\noverrun: 23\ncommit overrun: 5\ndropped events: 2\n"
        (folder / "stats").write_text(f"{told}oldest event ts: 12.5\n")
    assert own.lost(unread=False) == 2 * (23 + 2)
    assert own.lost(unread=True) == 2 * (23 + 2) + 7 + 11
