"""The process that is looked at: it is left alone, and can do nothing to who looks.

Attacks on the files that name its functions are made by the victim itself, on the real program.
"""

import os
import platform
import re
import signal
import struct
import subprocess
import sys
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from mmaplock_bt.machine import features
from mmaplock_bt.tracing.user_frames import UserFrames
from tests.kernel.parked import READ, Pages, child, is_queued, until
from tests.kernel.processes import begun
from tests.kernel.results import loaded
from tests.shell import ROOT
from tests.unit.tracing.test_elf import PLACED, file

pytestmark = pytest.mark.kernel
HANGS_S = 60  # far above what any of these runs takes
MIB = 1 << 20

# Code that unmaps, in a file that is mapped; then what the attack does to the file; then locks.
VICTIM = """
import ctypes, mmap, os, sys, time
path = sys.argv[1]
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
file = open(path, "rb")
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
begin = libc.mmap(None, 8192, 5, 2, file.fileno(), 0)
file.close()
unmap = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_void_p, ctypes.c_size_t)(begin + 0x400)
exec(sys.argv[2])
print("ready", flush=True)
while True:
    unmap(libc.mmap(None, 4096, 3, 34, -1, 0), 4096)
    time.sleep(0.002)
"""
# push rbp; mov rbp, rsp; mov eax, SYS_munmap; syscall; pop rbp; ret
CODE = bytes.fromhex("55 4889e5 b80b000000 0f05 5d c3")
FUSE = """
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 1 << 18
assert not libc.unshare(CLONE_NEWNS)
assert not libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None)
server = os.open("/dev/fuse", os.O_RDWR)
about = f"fd={server},rootmode=40000,user_id=0,group_id=0".encode()
assert not libc.mount(b"silent", os.path.dirname(path).encode(), b"fuse", 0, about)
"""
# Code in no file is what a perf map is looked for.
PERF_MAP = """
code = mmap.mmap(-1, 4096, prot=7)
code.write(bytes.fromhex(CODE))
unmap = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_void_p, ctypes.c_size_t)(
    ctypes.addressof(ctypes.c_char.from_buffer(code)))
names = f"/tmp/perf-{os.getpid()}.map"
"""
HUGE = "open(names, 'w').close(); os.truncate(names, 1 << 40)"
MANY = "open(names, 'w').write('1 1 a\\n' * 11_000_000)"
NAMED = """
with open(names, "w") as file:
    print(f"{ctypes.addressof(ctypes.c_char.from_buffer(code)):x} 20 unmaps", file=file)
"""
ATTACKS = {
    "nothing": "",
    "nothing, with code in memory": PERF_MAP + NAMED,
    "a FIFO in its place": "os.unlink(path); os.mkfifo(path)",
    "a device in its place": "os.unlink(path); os.mknod(path, 0o20600, os.makedev(5, 0))",
    "a link in its place": "os.unlink(path); os.symlink('/proc/self/mem', path)",
    "another file in its place": "os.rename(path + '.other', path)",
    "a FUSE server that is silent": FUSE,
    "a file without end": "os.truncate(path, 1 << 40)",
    "a FIFO for a perf map": PERF_MAP + "os.mkfifo(names)",
    "a perf map without end": PERF_MAP + HUGE,
}
# Ours is the file that is mapped.
READABLE = {
    "nothing",
    "nothing, with code in memory",
    "a FUSE server that is silent",
    "a file without end",
}


@pytest.fixture(autouse=True)
def _names_are_looked_up(kernel):
    if platform.machine() != "x86_64":
        pytest.skip("the victim's code is x86-64's")
    if not features.kernel_functions()["lockless_maps"]:
        pytest.skip("before 6.17 reading /proc/PID/maps takes the lock: addresses are shown")


def library(path, name="unmaps", table_bytes=None):
    """Writes an ELF file with one function; its table of symbols is perhaps as long as said."""
    text = bytearray(file(64, "<", [(name, 0x1000, len(CODE), 2)]).getvalue().ljust(8192, b"\0"))
    text[PLACED : PLACED + len(CODE)] = CODE
    if table_bytes is not None:
        table = struct.unpack_from("<Q", text, 40)[0] + 64  # e_shoff; the second section
        struct.pack_into("<QQ", text, table + 24, 8192, table_bytes)
    path.write_bytes(text)
    os.truncate(path, 8192 + (table_bytes or 0))
    return path


@contextmanager
def victim(path, attack=""):
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", VICTIM, path,
         attack.replace("CODE", repr(CODE.hex()))],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process.pid
    finally:
        process.kill()
        process.communicate()
        with suppress(OSError):
            Path(f"/tmp/perf-{process.pid}.map").unlink()


def holds(cli, pids, out):
    """The innermost user frames of the victims' holds, from a run that ends by itself."""
    words = [word for pid in pids for word in ("-p", str(pid))]
    done = cli("run", "long-holds", "--set", "threshold=0", "-d", "400ms", *words, "-o", str(out))
    assert done.returncode == 0, done.stderr
    rows = loaded(out.read_text()).outputs["long_holds"].rows
    return {
        pid: {
            row["user_stack"][0]
            for row in rows
            if row["pid"] == pid and row["user_stack"] and row["cause"] == "munmap"
        }
        for pid in pids
    }  # fmt: skip


def test_what_victims_do_to_their_files_holds_nobody_up(cli, tmp_path):
    pids = {}
    with ExitStack() as stack:
        for attack, code in ATTACKS.items():
            folder = tmp_path / attack
            folder.mkdir()
            library(folder / "library.other", "wrong")
            pids[stack.enter_context(victim(library(folder / "library"), code))] = attack
        found = holds(cli, pids, tmp_path / "r.json")
    assert all(found.values()), "every victim's holds are seen"
    names = {pids[pid]: {f.partition("+")[0] for f in frames} for pid, frames in found.items()}
    assert not any("wrong" in of for of in names.values())
    assert {attack for attack, of in names.items() if "unmaps" in of} == READABLE, names


def test_files_without_end_cost_no_more_than_their_share_of_time(cli, tmp_path):
    symbols = library(tmp_path / "library", table_bytes=255 * MIB)
    with victim(symbols) as one, victim(symbols, PERF_MAP + MANY) as other:
        found = holds(cli, (one, other), tmp_path / "r.json")
    assert {frame.partition("+")[0] for frame in found[one]} == {"library"}
    assert found[other] and not any("perf map" in frame for frame in found[other])


def test_ctrl_c_is_heard_while_a_victims_file_is_read(tmp_path):
    """It comes when the window ends; what was found is printed, and no child is left."""
    with victim(library(tmp_path / "library", table_bytes=255 * MIB)) as pid:
        out = tmp_path / "r.json"
        run = begun("long-holds", "--set", "threshold=0", "-p", str(pid), "-o", str(out))
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=HANGS_S)
    assert run.returncode == 0, err
    assert loaded(out.read_text()).window.ended_by == "interrupt"


PROFILES = sorted(path.stem for path in (ROOT / "profiles").glob("*.yaml"))
# What the tool may open of a process that it looks at: none of these files takes its mmap_lock.
# `maps` is read on kernels only that walk it without (Linux 6.17); `stack` takes exec_update_lock.
ALLOWED = re.compile(
    r"(|exe|root|stat|status|maps|mountinfo|ns/user|comm|fdinfo/\d+"
    r"|task(|/\d+(|/(children|wchan|schedstat|stat|comm|stack))))"
)
TRACER = """
BEGIN { printf("up\\n"); }
tracepoint:syscalls:sys_enter_open, tracepoint:syscalls:sys_enter_openat,
tracepoint:syscalls:sys_enter_newstat, tracepoint:syscalls:sys_enter_newfstatat,
tracepoint:syscalls:sys_enter_statx
{
  if (strncmp("/proc/", str(args->filename), 6) == 0) {
    printf("file %d %d %s\\n", pid, curtask->real_parent->tgid, str(args->filename));
  }
}
tracepoint:mmap_lock:mmap_lock_start_locking
{
  $owner = ((struct mm_struct *)args->mm)->owner;
  if ((uint64)$owner != 0 && $owner->tgid != pid && $owner->mm == args->mm) {
    printf("lock %d %d %d\\n", pid, curtask->real_parent->tgid, $owner->tgid);
  }
}
"""
# It is of several threads, forks, execs nothing, and says its pid; it opens no file of /proc.
BUSY = """
import ctypes, os, sys, threading, time
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
def locks():
    while True:
        libc.munmap(libc.mmap(None, ctypes.c_size_t(1 << 16), 3, 34, -1, ctypes.c_long(0)), 1 << 16)
        time.sleep(0.001)
for _ in range(3):
    threading.Thread(target=locks, daemon=True).start()
print(os.getpid(), file=open(sys.argv[1], "w") if sys.argv[1:] else sys.stdout, flush=True)
time.sleep(float(sys.argv[2]) if sys.argv[2:] else 3600)
os._exit(0)
"""


class Onlooker:
    """A second bpftrace: who opens files of whose /proc folder, and who takes whose lock."""

    def __init__(self, folder):
        self.said = folder / "said"
        environment = {**os.environ, "BPFTRACE_PERF_RB_PAGES": "8192", "BPFTRACE_STRLEN": "64"}
        program = os.environ.get("MMAPLOCK_BPFTRACE", "bpftrace")
        with self.said.open("wb") as out:
            self.process = subprocess.Popen(
                [program, "-e", TRACER], stdout=out, stderr=subprocess.PIPE, env=environment
            )
        until(lambda: "up" in self.said.read_text() or self.process.poll() is not None, "it is up")
        if self.process.poll() is not None:
            pytest.skip(f"no second tracer: {self.process.stderr.read().decode()[-300:]}")

    def end(self):
        """Stops it; returns files (pid, its parent, path) and locks (pid, its parent, owner).

        Each CPU has a buffer of its own: what it saw last has come once a mark behind it has.
        """
        marks = {cpu: f"/proc/seen-on-{cpu}" for cpu in os.sched_getaffinity(0)}
        for cpu, mark in marks.items():
            pinned = ["taskset", "-c", str(cpu), "cat", mark]
            subprocess.run(pinned, check=False, stderr=subprocess.DEVNULL)
        until(lambda: all(mark in self.said.read_text() for mark in marks.values()), "all is said")
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=HANGS_S)
        lines = self.said.read_text(errors="replace").splitlines()
        assert not [line for line in lines if line.startswith("Lost")]
        words = [line.split(maxsplit=3) for line in lines if line[:5] in ("file ", "lock ")]
        files = [(int(a), int(b), path) for kind, a, b, path in words if kind == "file"]
        locks = [(int(a), int(b), int(owner)) for kind, a, b, owner in words if kind == "lock"]
        return files, locks


def several(*runs):
    """Runs of the tool, all at once: their processes when they have ended, with status 0."""
    processes = [
        subprocess.Popen([sys.executable, "-P", "-m", "mmaplock_bt", "run", *words, "-q"],
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for words in runs
    ]  # fmt: skip
    said = [process.communicate(timeout=2 * HANGS_S)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(runs), said
    return [process.pid for process in processes]


@pytest.fixture
def busy():
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", BUSY], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == f"{process.pid}\n"
    yield process.pid
    process.kill()
    process.communicate()


def test_no_profile_opens_a_file_or_takes_the_lock_of_who_is_looked_at(busy, tmp_path):
    """With -p, on the whole machine, and with a command; a stranger who does both is seen."""
    onlooker = Onlooker(tmp_path)
    tools, commands = [], []
    for profile in PROFILES:
        told = tmp_path / profile
        command = [sys.executable, "-I", "-S", "-c", BUSY, str(told), "0.3"]
        tools += several(
            (profile, "-d", "300ms", "-p", str(busy)), (profile, "-d", "300ms"),
            (profile, "--", *command),
        )  # fmt: skip
        commands.append(int(told.read_text()))
    stranger = subprocess.Popen(["cat", f"/proc/{busy}/smaps"], stdout=subprocess.DEVNULL)
    stranger.wait()
    files, locks = onlooker.end()
    assert stranger.pid in {pid for pid, _, owner in locks if owner == busy}
    assert stranger.pid in {pid for pid, _, path in files if path == f"/proc/{busy}/smaps"}
    theirs = {busy, *commands}
    opened = {
        found[2] or ""
        for pid, parent, path in files
        if {pid, parent} & {*tools} and pid not in theirs
        and (found := re.fullmatch(r"/proc/(\d+)(?:/(.*))?", path)) and int(found[1]) in theirs
    }  # fmt: skip
    assert "exe" in opened or not features.kernel_functions()["lockless_maps"]
    assert not {path for path in opened if not ALLOWED.fullmatch(path)}
    takers = {pid for pid, parent, owner in locks if owner in theirs and {pid, parent} & {*tools}}
    # From 6.17 on maps are read without it, but for a mapping that is being written to.
    readers = {pid for pid, _, path in files if re.fullmatch(r"/proc/\d+/maps", path)}
    assert not takers - theirs - readers


class Silent(Pages):
    """A file that can be read, and whose server never says that anything was written."""

    def _serve_one(self, asked):
        _, opcode, unique = struct.unpack_from("<IIQ", asked)
        if opcode == READ:
            self._say(unique, bytes(struct.unpack_from("<I", asked, 56)[0]))
        elif opcode == WRITE:
            self.wanted.put((unique, 0))
        else:
            super()._serve_one(asked)

    def finish(self):
        """Says that it is written."""
        unique, _ = self.wanted.get(timeout=HANGS_S)
        self._say(unique, struct.pack("<II", 4096, 0))


WRITE = 16  # FUSE_WRITE
# A mapping whose pages must be written back is replaced: under the write lock.
STUCK = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
file = os.open(sys.argv[1], os.O_RDWR)
os.fstat(file)  # else it has no size yet
place = libc.mmap(None, 4096, 3, 1, file, 0)
ctypes.memset(place, 1, 4096)
libc.mmap(place, 4096, 3, 0x32, -1, 0)
"""


@pytest.fixture
def stuck(tmp_path):
    """A process that holds its own lock for write, until the fixture ends."""
    try:
        pages = Silent(tmp_path / "silent")
    except OSError as error:
        pytest.skip(f"no FUSE file can be mounted here: {error}")
    process = child(STUCK, pages.path)
    until(lambda: not pages.wanted.empty(), "it holds its lock")
    yield process.pid
    pages.finish()
    pages.close()
    process.kill()
    process.communicate()


def test_runs_end_whose_process_is_stuck_under_its_own_write_lock(stuck, tmp_path):
    reader = subprocess.Popen(["cat", f"/proc/{stuck}/cmdline"], stdout=subprocess.DEVNULL)
    until(lambda: is_queued(reader.pid), "who reads its files waits")
    for profile in PROFILES:
        several((profile, "-d", "300ms", "-p", str(stuck)), (profile, "-d", "300ms"))
    assert reader.poll() is None and is_queued(reader.pid)
    reader.kill()
    reader.wait()


def test_a_process_stuck_under_its_own_lock_is_asked_for_its_mappings_once(stuck):
    """The kernel falls back to mmap_lock at a mapping that is being written to."""
    frames = UserFrames(frozenset({"x"}))
    for _ in range(3):
        frames.again_s = 0.0
        frames.remember(stuck)
    assert frames.stuck == {stuck} and not frames.command
