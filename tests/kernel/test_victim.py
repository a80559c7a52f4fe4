"""The process that is looked at: it is left alone, and can do nothing to who looks.

Attacks on the files that name its functions are made by the victim itself, on the real program.
"""

import os
import platform
import signal
import struct
import subprocess
import sys
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from mmaplock_bt.machine import features
from mmaplock_bt.result.saved import from_json
from tests.kernel.processes import begun
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
    rows = from_json(out.read_text()).outputs["long_holds"].rows
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
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=HANGS_S)
    assert run.returncode == 0, err
    assert from_json(out.read_text()).window.ended_by == "interrupt"
