"""What a filter leaves out is not counted, and whoever changes sides in the window is noticed."""

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from mmaplock_bt import renderers
from mmaplock_bt.judging.series import Series
from mmaplock_bt.machine import cgroups as hierarchies
from tests.kernel.parked import child, heard, tell
from tests.kernel.processes import begun
from tests.kernel.results import loaded
from tests.limits import STARTS_AT_ONCE, limit_s

pytestmark = [pytest.mark.kernel, pytest.mark.daily]
SLACK = 60  # locks that an interpreter takes beside what it is told to take

# Takes so many read locks as it is told, renames itself, becomes another image.
TAKER = """
import ctypes, os, sys
name, code = sys.argv[1:]
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
page, vector = libc.mmap(None, 4096, 3, 0x22, -1, 0), ctypes.create_string_buffer(1)
def named(name):
    with open("/proc/self/comm", "w") as comm:
        comm.write(name)
def lock(count):
    for _ in range(int(count)):
        libc.mincore(page, 4096, vector)
def becomes(path):
    os.execv(path, [path, "-I", "-S", "-c", code, "", code])
if name:
    named(name)
print("up", flush=True)
for line in sys.stdin:
    word, value = line.split()
    {"lock": lock, "name": named, "exec": becomes}[word](value)
    print("done", flush=True)
"""


class Taker:
    """A process that takes locks, with its pid and name."""

    def __init__(self, name):
        self.process = child(TAKER, name, TAKER)
        self.pid, self.name = self.process.pid, name
        assert heard(self.process) == "up"

    def does(self, word, value):
        tell(self.process, f"{word} {value}")
        assert heard(self.process) == ("up" if word == "exec" else "done")


@contextmanager
def takers(*names):
    found = [Taker(name) for name in names]
    try:
        yield found
    finally:
        for taker in found:
            taker.process.kill()
            taker.process.communicate()


@pytest.fixture
def group():
    """A memory cgroup; whoever is in it at the end goes to the one above."""
    folder = Path(str(hierarchies.hierarchy()), f"mmaplock-filters-{os.getpid()}")
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    yield folder
    for pid in (folder / "cgroup.procs").read_text().split():
        move(int(pid), folder.parent)
    folder.rmdir()


def move(pid, folder):
    (folder / "cgroup.procs").write_text(str(pid))


def opened(*filters, profile="hold-times", profiles=None):
    """Runs of a profile with these filters; their windows are open at once.

    `profiles` are others by the run's place.
    """

    def start(turn):
        name = (profiles or {}).get(turn, profile)
        return begun(name, "--format", "json", *filters[turn])

    with ThreadPoolExecutor(STARTS_AT_ONCE) as pool:
        return list(pool.map(start, range(len(filters))))


def ended(runs):
    for run in runs:
        run.send_signal(signal.SIGINT)
    results = []
    for run in runs:
        out, err = run.communicate(timeout=limit_s(120))
        assert run.returncode == 0, err
        results.append(loaded(out))
    assert all(result.loss.complete for result in results), [one.loss for one in results]
    return results


def reads(result, name="owner_pid"):
    """Read holds by owner, those of teardowns, forks and execs left out."""
    found = {}
    for row in result.outputs["owners"].rows:
        key = row["key"]
        if key["mode"] == "read" and key["owner_kind"] == "process":
            found[key[name]] = found.get(key[name], 0) + row["count"]
    return found


def test_only_what_is_asked_for_is_counted(kernel, group):
    with takers("mine", "others") as (mine, other):
        move(mine.pid, group)
        filters = {
            "-p": str(mine.pid),
            "--comm": "mine",
            "--owner-comm": "mine",
            "--cgroup": str(group),
        }
        runs = opened(*filters.items())
        for count in (101, 2003, 997):
            other.does("lock", count)
            mine.does("lock", count)
        for option, result in zip(filters, ended(runs), strict=True):
            assert reads(result).keys() == {mine.pid}, option
            assert 0 <= reads(result)[mine.pid] - 3101 < SLACK, option


@contextmanager
def below(group, *names):
    folders = [group / name for name in names]
    for folder in folders:
        folder.mkdir(parents=True)
    try:
        yield folders
    finally:
        for folder in sorted(group.rglob("*/"), reverse=True):
            for pid in (folder / "cgroup.procs").read_text().split():
                move(int(pid), group)
            folder.rmdir()


def test_of_several_any_is_meant(kernel, group):
    with takers("one", "two", "others") as (one, two, other), below(group, "a", "b") as groups:
        for taker, folder in zip((one, two, other), (*groups, group), strict=True):
            move(taker.pid, folder)
        filters = {
            "-p": (one.pid, two.pid),
            "--actor-pid": (one.pid, two.pid),
            "--comm": ("one", "two"),
            "--owner-comm": ("one", "two"),
            "--cgroup": groups,
            "--actor-cgroup": groups,
        }
        found = []
        for names in (list(filters)[:3], list(filters)[3:]):  # so many at once as there is room for
            runs = opened(*([w for v in filters[n] for w in (n, str(v))] for n in names))
            one.does("lock", 1009)
            other.does("lock", 2003)
            two.does("lock", 499)
            found += zip(names, ended(runs), strict=True)
        for option, result in found:
            assert reads(result).keys() == {one.pid, two.pid}, option
            assert 0 <= reads(result)[one.pid] - 1009 < SLACK, option
            assert 0 <= reads(result)[two.pid] - 499 < SLACK, option
        assert found[0][1].profile.filter["owner"]["pid"] == [one.pid, two.pid]


def test_a_container_and_a_unit_are_told_by_id_and_name(kernel, group):
    """Cgroups that are named as runtimes and systemd name them."""
    identity = f"{os.getpid():012x}{'3f' * 26}"
    names = (
        f"docker-{identity}.scope",
        f"mmaplock-{os.getpid()}.service",
        f"docker-{'0' * 64}.scope",
    )
    with (
        takers("inside", "unit", "others") as (inside, unit, other),
        below(group, *names) as groups,
    ):
        for taker, folder in zip((inside, unit, other), groups, strict=True):
            move(taker.pid, folder)
        whose = {
            ("--container", identity[:12]): inside,
            ("--actor-container", identity): inside,
            ("--unit", names[1].removesuffix(".service")): unit,
        }
        runs = opened(*whose)
        for count in (101, 2003, 997):
            for taker in (other, unit, inside):
                taker.does("lock", count)
        for (words, taker), result in zip(whose.items(), ended(runs), strict=True):
            assert reads(result).keys() == {taker.pid}, words
            assert 0 <= reads(result)[taker.pid] - 3101 < SLACK, words
            cgroup = f"/{group.name}/{names[taker is unit]}"
            assert reads(result, "cgroup").keys() == {cgroup}, words  # the whole path is kept
            side = "actor" if words[0].startswith("--actor") else "owner"
            assert result.profile.filter[side]["cgroup"] == cgroup
            assert (f"docker {identity[:12]}" in told(result)) == (taker is inside)


# As systemd and the runtimes name them on a machine with cgroup v2 only.
PLACES = {
    "docker": "system.slice/docker-{}.scope",
    "podman": "machine.slice/libpod-{}.scope/container",
    "containerd": "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podc0de.slice/"
    "cri-containerd-{}.scope",
}


def test_a_container_is_found_wherever_its_runtime_has_put_it(kernel, group):
    heads = [f"{os.getpid():011x}{digit}" for digit in range(len(PLACES))]
    names = [
        place.format(head + "3f" * 26) for place, head in zip(PLACES.values(), heads, strict=True)
    ]
    with (
        takers(*PLACES, "others") as (*inside, other),
        below(group, *names) as groups,
    ):
        for taker, folder in zip((*inside, other), (*groups, group), strict=True):
            move(taker.pid, folder)
        runs = opened(*(("--container", head) for head in heads))
        for taker in (other, *inside):
            taker.does("lock", 3001)
        for result, taker, name, head in zip(ended(runs), inside, names, heads, strict=True):
            assert reads(result).keys() == {taker.pid}, name
            assert 0 <= reads(result)[taker.pid] - 3001 < SLACK, name
            assert reads(result, "cgroup").keys() == {f"/{group.name}/{name}"}
            assert f"{taker.name} {head}" in told(result)


def told(result):
    return renderers.rendered(Series((result,)), "table", detail=2, width=200)


def test_the_window_ends_with_the_last_of_several(kernel):
    with takers("one", "two") as (one, two):
        (run,) = opened(("-p", str(one.pid), "-p", str(two.pid)))
        one.process.kill()
        one.process.wait()
        two.does("lock", 1009)
        two.process.kill()
        out, err = run.communicate(timeout=limit_s(60))
    assert run.returncode == 0, err
    result = loaded(out)
    assert result.window.ended_by == "target_exit"
    assert 0 <= reads(result)[two.pid] - 1009 < SLACK


def test_the_descendants_of_several(kernel):
    families = [child(FORKS, 23, EACH) for _ in range(2)]
    assert [heard(family) for family in families] == ["up"] * 2
    words = [word for family in families for word in ("-p", str(family.pid))]
    runs = opened([*words, "--descendants"])
    found = []
    for family in families:
        tell(family, "go")
        found.append([int(word) for word in heard(family).split()])
    (result,) = ended(runs)
    for family in families:
        family.communicate("")
    everyone = reads(result)
    assert set(found[0]) | set(found[1]) <= everyone.keys()


def test_who_changes_the_cgroup_changes_sides(kernel, group):
    with takers("moves") as (taker,):
        move(taker.pid, group)
        runs = opened(("--cgroup", str(group)), ("--actor-cgroup", str(group)))
        taker.does("lock", 1009)
        move(taker.pid, group.parent)
        taker.does("lock", 5003)
        move(taker.pid, group)
        taker.does("lock", 499)
        for result in ended(runs):
            assert reads(result).keys() == {taker.pid}
            assert 0 <= reads(result)[taker.pid] - 1508 < SLACK


def test_who_takes_another_name_changes_sides(kernel, tmp_path):
    image = tmp_path / "new-image"
    image.symlink_to(sys.executable)
    with takers("first") as (taker,):
        runs = opened(("--owner-comm", "second"), ("--owner-comm", "new-image"))
        taker.does("lock", 1009)
        taker.does("name", "second")
        taker.does("lock", 2003)
        taker.does("name", "third")
        taker.does("lock", 5003)
        taker.does("exec", image)
        taker.does("lock", 4001)
        second, image = (reads(result, "owner_comm") for result in ended(runs))
    assert second.keys() == {"second"} and 0 <= second["second"] - 2003 < SLACK
    # A new image takes some before it begins.
    assert image.keys() == {"new-image"} and 0 <= image["new-image"] - 4001 < 1000


# Children one after the other: the memory of one's mm serves the next.
FORKS = """
import ctypes, os, sys
count, each, *groups = sys.argv[1:]
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
page, vector = libc.mmap(None, 4096, 3, 0x22, -1, 0), ctypes.create_string_buffer(1)
print("up", flush=True)
sys.stdin.readline()
pids = []
for turn in range(int(count)):
    pid = os.fork()
    if pid == 0:
        for _ in range(int(each)):
            libc.mincore(page, 4096, vector)
        if groups:
            with open(groups[turn % 2] + "/cgroup.procs", "w") as procs:
                procs.write(str(os.getpid()))
        for _ in range(turn % 3 * int(each)):
            libc.mincore(page, 4096, vector)
        os._exit(0)
    os.waitpid(pid, 0)
    pids.append(pid)
print(*pids, flush=True)
sys.stdin.read()
"""


def test_owners_survive_the_reuse_of_their_memory(kernel, group):
    """499 children, of which every other one puts itself into the cgroup in the midst of it."""
    family = child(FORKS, 499, EACH, group, group.parent)
    assert heard(family) == "up"
    runs = opened(("-p", str(family.pid), "--descendants"), ("--cgroup", str(group)))
    tell(family, "go")
    pids = [int(word) for word in heard(family).split()]
    results = ended(runs)
    everyone, inside = (reads(result) for result in results)
    family.communicate("")
    # Met by its parent first, in memory that was another child's own.
    newborn = [
        r for r in results[0].outputs["owners"].rows if r["key"]["owner_kind"] == "fork_child"
    ]
    assert sum(row["count"] for row in newborn if row["key"]["mode"] == "write") == 499
    assert len(set(pids)) == 499
    for turn, pid in enumerate(pids):
        after = turn % 3 * EACH
        assert 0 <= everyone[pid] - EACH - after < EACH, turn
        if turn % 2 == 0:
            assert 0 <= inside.get(pid, 0) - after < EACH, turn
    assert inside.keys() <= set(pids[::2])


def test_who_moves_while_others_end_does_not_end_the_run(kernel, group):
    """bpftrace up to 0.17 aborts where a key changes while clear() lists them (#2623)."""
    families = [child(FORKS, 499, EACH, group, group.parent) for _ in range(3)]
    assert [heard(family) for family in families] == ["up"] * 3
    runs = opened(("--cgroup", str(group)), ("--actor-cgroup", str(group)))
    for family in families:
        tell(family, "go")
    pids = [int(word) for family in families for word in heard(family).split()]
    for result in ended(runs):
        assert len(reads(result)) > 0 and reads(result).keys() <= set(pids)
    for family in families:
        family.communicate("")


EACH = 31  # and fewer by themselves
