"""What the installed bpftrace accepts: each construct is tried, once per binary and kernel."""

import ctypes
import hashlib
import json
import os
import platform
import re
import select
import signal
import subprocess
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from mmaplock_bt import resources
from mmaplock_bt.errors import TargetError
from mmaplock_bt.machine import btf, cpu_time, distro, held_btf, private_folder, raising
from mmaplock_bt.units import how_ended

TIMEOUT_S = 60.0  # in which a program does nothing but wait for a disk, and
BUSY_S = 120.0  # at most in which it is busy
END_S = 1.0  # for one that has closed its output, at least
LIMIT_BYTES = 1 << 20  # of output: a program that prints without end is no bpftrace
NOISE = "RLIMIT_MEMLOCK"  # said, and no failure, by every release without CAP_SYS_RESOURCE
LAST_LINES = 6
MEMORY_BYTES = 1 << 16
STATUS = Path("/proc/self/status")
END = " BEGIN { exit(); }"
_PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h
_PRCTL = ctypes.CDLL(None).prctl


@dataclass(frozen=True)
class Trial:
    """A program that bpftrace accepts or refuses, and what the construct is good for.

    It is accepted where bpftrace exits with 0 and prints `shows`.
    """

    program: str
    meaning: str
    shows: str = ""
    finds: str = ""  # a pattern: the outcome is what it captures, '' when nothing

    @property
    def options(self) -> tuple[str, ...]:
        """The bpftrace options that run it; without a program, `--help` is looked at."""
        return ("-f", "json", "-e", self.program) if self.program else ("--help",)


# Each says which release made it differ; the outcome is what counts.
TRIALS = {
    "mm_owner": Trial(
        "tracepoint:mmap_lock:mmap_lock_released "
        "{ $o = ((struct mm_struct *)args->mm)->owner; @x = (uint64)$o->tgid; }" + END,
        "mm->owner is readable (needs BTF; 0.17, libbpf before 1.0 cannot read newer BTF)",
    ),
    # css_set begins with subsys[] (include/linux/cgroup-defs.h), read by offset: its length and
    # order are the build's own.
    "memory_controller": Trial(
        "BEGIN { $g = (uint64)((struct task_struct *)curtask)->cgroups; "
        + " ".join(
            f"$s = *(uint64 *)($g + {8 * i}); "
            f'printf("css|{i}|%s|", str(((struct cgroup_subsys *)((struct cgroup_subsys_state *)$s)'
            "->ss)->name));"
            for i in range(16)
        )
        + " exit(); }",
        "the memory controller's place in a task's css_set (its enum is the build's own)",
        finds=r"css\|(\d+)\|memory\|",
    ),
    "rwsem_owner": Trial(
        "tracepoint:mmap_lock:mmap_lock_released "
        "{ $s = ((struct mm_struct *)args->mm)->mmap_lock; @x = (uint64)$s.count.counter; "
        "@y = (uint64)$s.owner.counter; }" + END,
        "the rwsem's count and owner are readable (not with PREEMPT_RT)",
    ),
    # PREEMPT_RT's rwsem (include/linux/rwbase_rt.h).
    "rwbase": Trial(
        "tracepoint:mmap_lock:mmap_lock_released "
        "{ $r = ((struct mm_struct *)args->mm)->mmap_lock.rwbase; "
        "@x = (uint64)$r.readers.counter; @y = (uint64)$r.rtmutex.owner; }" + END,
        "the count and the owner of PREEMPT_RT's rwsem are readable",
    ),
    "run_delay": Trial(
        "BEGIN { @x = (uint64)((struct task_struct *)curtask)->sched_info.run_delay; exit(); }",
        "how long a thread waited for a CPU is readable (CONFIG_SCHED_INFO)",
    ),
    "raw_tracepoint": Trial(
        "rawtracepoint:mmap_lock_released { @x = (uint64)arg0; }" + END,
        "rawtracepoint with argN (0.18)",
    ),
    "ustack_raw": Trial('BEGIN { printf("%s", ustack(raw, 3)); exit(); }', "ustack(raw, n) (0.18)"),
    "hist_64bit": Trial(
        "BEGIN { @x = hist((uint64)5000000000); exit(); }",
        "hist() holds 64 bits (0.20; before, the top bucket is 2^31)",
        shows='"min": 4294967296',
    ),
    "hist_bits": Trial("BEGIN { @x = hist(5, 3); exit(); }", "hist(x, bits) (0.20)"),
    "for_loop": Trial(
        "BEGIN { @x[(uint64)1] = 1; for ($kv : @x) { print($kv.0); } exit(); }",
        "for loops over maps (0.21)",
    ),
    "delete_key": Trial(
        "BEGIN { @x[(uint64)1] = 1; delete(@x, (uint64)1); exit(); }", "delete(@m, key) (0.22)"
    ),
    "tuple_print": Trial("BEGIN { print((1, 2)); exit(); }", "print() of a tuple", shows="[1"),
    "helper_errors_flag": Trial(
        "",
        "-k reports failed map updates (0.11 to 0.22; from 0.23 they are reported anyway)",
        shows="helper returns an error (except read",
    ),
    "config_block": Trial(
        "config = { max_map_keys = 64 } BEGIN { exit(); }", "configuration variables (0.20)"
    ),
}

KALLSYMS = Path("/proc/kallsyms")
SYMBOLS_BYTES = 1 << 16  # of it: the first addresses are offsets, and may be 0
BTF = Path("/sys/kernel/btf/vmlinux")
OFFSET = "mmap_lock_offset"  # of mmap_lock in mm_struct: from a lock's address to its mm
# How a thread's registers at its system call lie at the end of its kernel stack: in pt_regs there
# is a member that only this architecture has; and where they begin, in bytes from the stack's end.
REGISTERS, PLACE = "user_registers", "registers_at"
LAYOUTS = {"x86_64": "orig_ax", "arm64": "orig_x0"}
STACK_BYTES = 1 << 14  # THREAD_SIZE of both, or a page where that is larger (arm64)
# What a kernel does, by a name in its tables: a function, or a variable in its BTF.
FUNCTIONS = {
    "per_vma_locks": (KALLSYMS, b" lock_vma_under_rcu\n"),  # most page faults use them (6.4)
    "lockless_maps": (KALLSYMS, b" lock_next_vma\n"),  # /proc/PID/maps without mmap_lock (6.17)
    "dup_mmap": (KALLSYMS, b" dup_mmap\n"),  # a frame of its own; up to 6.12 it is inlined
    # a46023d5616e (after 6.18; another use up to 6.12): programs on raw tracepoints are preempted,
    # and the events of whoever comes in between are dropped. perf's way keeps preemption off.
    "tracepoint_srcu": (BTF, b"\0tracepoint_srcu_srcu_data\0"),
    # f7cfd871ae0c (5.11): an rwsem that exec_mmap writes; by it an exec that ends is told.
    "exec_update_lock": (BTF, b"\0exec_update_lock\0"),
}


def takes_raw(facts: Mapping[str, bool | str]) -> bool:
    """Tells whether scripts are to take raw tracepoints, by the facts of a machine.

    One costs less than half and spares the memcg look-up of its perf event (before 6.14 that is
    made for both). Where SRCU guards tracepoints (a46023d5616e) only the perf event keeps
    preemption off; a preempted program drops events. PREEMPT_RT preempts bpftrace while it reads a
    stack out of its map, too, and until it goes on no perf event's program runs on that CPU
    (bpf_disable_instrumentation()); a raw one does.
    """
    if facts["memcg_field"] == "memcg_path":
        return bool(facts["raw_tracepoint"] and facts["rwbase"])
    is_sound = facts["memcg_field"] == "memcg_id" and not facts["tracepoint_srcu"]
    return bool(facts["raw_tracepoint"] and is_sound)


def kernel_functions() -> dict[str, bool | str]:
    """Tells which of FUNCTIONS this kernel has, by name, and OFFSET, REGISTERS and PLACE (0.4 s).

    Looks in kallsyms and BTF; False and '' where these cannot be read.
    """
    tables = {path: _bytes(path) for path in (KALLSYMS, BTF)}
    at = btf.offset(tables[BTF], "mm_struct", "mmap_lock")
    found: dict[str, bool | str] = {OFFSET: "" if at is None else str(at)}
    found |= _registers(tables[BTF])
    return found | {name: wanted in tables[path] for name, (path, wanted) in FUNCTIONS.items()}


def _registers(types: bytes) -> dict[str, bool | str]:
    for layout, member in LAYOUTS.items():
        size = btf.size(types, "pt_regs")
        if size is not None and btf.offset(types, "pt_regs", member) is not None:
            stack = max(STACK_BYTES, os.sysconf("SC_PAGE_SIZE"))
            return {REGISTERS: layout, PLACE: str(stack - size)}
    return {REGISTERS: "", PLACE: ""}


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def outcomes(path: str, *, fresh: bool = False) -> dict[str, bool | str]:
    """Returns, by name, whether each trial was accepted (or what it found) and FUNCTIONS.

    Remembered in the cache unless `fresh`, by the binary's path, size and time, the kernel's
    release and the privileges. A bpftrace that cannot trace is not remembered: the reason may be
    gone.
    """
    known = None if fresh else _checked(recalled(path, "trials"))
    if known is not None:
        return known
    found = _tried(path) | kernel_functions()
    if found["mm_owner"]:
        remember(path, "trials", found)
    return found


def _checked(known: object) -> dict[str, bool | str] | None:
    """Remembered outcomes, each of its type: they choose a script's branches and stand in it."""
    patterns = {name: r"\d{0,2}" for name, trial in TRIALS.items() if trial.finds}
    patterns |= {OFFSET: r"\d{0,5}", PLACE: r"\d{0,6}", REGISTERS: "|".join(["", *LAYOUTS])}
    if not isinstance(known, dict) or set(known) != {*TRIALS, *FUNCTIONS, OFFSET, PLACE, REGISTERS}:
        return None
    right = (
        isinstance(value, str) and re.fullmatch(patterns[name], value, re.ASCII)
        if name in patterns
        else isinstance(value, bool)
        for name, value in known.items()
    )
    return known if all(right) else None


def _tried(path: str) -> dict[str, bool | str]:
    """Several at once; on the way out of a fault, or of Ctrl-C, all that run are ended."""
    begun: deque[tuple[str, _Program]] = deque()
    found: dict[str, bool | str] = {}

    def end_first() -> None:
        name, program = begun.popleft()
        found[name] = _outcome(TRIALS[name], *program.ended())

    # As tracing/bpftrace holds it: what is remembered must be what a run will meet.
    with held_btf.held(), ExitStack() as stack:
        for name, trial in TRIALS.items():
            begun.append((name, stack.enter_context(_Program(path, trial.options))))
            if len(begun) > (os.cpu_count() or 1):
                end_first()
        while begun:
            end_first()
    return found


def refusal(path: str) -> str | None:
    """Returns what bpftrace says when it fails even an empty program; None if it runs it."""
    status, text = output(path, "-f", "json", "-e", END)
    return None if status == 0 else f"{how_ended(status)}: {last_words(text)}"


def last_words(text: str) -> str:
    """Returns the last lines of an output as one, harmless for a terminal."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and NOISE not in line]
    shown = " / ".join(line[:200] for line in lines[-LAST_LINES:])
    return "".join(c if c.isprintable() else "?" for c in shown) or "nothing"


def output(path: str, *options: str) -> tuple[int, str]:
    """Runs a program and returns its status and output (stdout and stderr).

    Raises TargetError where it does not start or does not end within TIMEOUT_S.
    """
    with _Program(path, options) as program:
        return program.ended()


class _Program:
    """A program in a session of its own, where no Ctrl-C comes to; it ends with this process.

    Leaving it ends it and what it forked. Entering raises TargetError where it does not start.
    """

    def __init__(self, path: str, options: Sequence[str]) -> None:
        self._path, self._options = path, options

    def __enter__(self) -> "_Program":
        self._deadline = time.monotonic() + TIMEOUT_S
        try:
            self._process = subprocess.Popen(
                [*raising.words(), self._path, *self._options],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a group of its own: what it forked is killed with it
                # No other thread runs by now: it is sound.
                preexec_fn=partial(_end_with, os.getpid()),  # noqa: PLW1509
            )
        except OSError as error:
            said = f"{self._path} does not start: {error.strerror}"
            raise TargetError(said, distro.reinstall()) from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):  # gone, or root's
                os.killpg(self._process.pid, signal.SIGKILL)
        with self._process:
            pass

    def ended(self) -> tuple[int, str]:
        """Returns its status and output. Raises TargetError where it does not end in time."""
        try:
            return _until_end(self._process, self._deadline)
        except TimeoutError as error:
            said = f"{self._path} {self._options[0]} {error}"
            raise TargetError(said, distro.reinstall()) from error


def _end_with(parent: int) -> None:
    """In the child: the kernel kills it when its parent ends, which perhaps it has by now.

    Not where sudo is in between: that is root's, and lives on.
    """
    _PRCTL(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def _until_end(process: subprocess.Popen[bytes], deadline: float) -> tuple[int, str]:
    """Raises TimeoutError, which says what was printed so far."""
    assert process.stdout is not None
    text = b""
    while _speaks(process.stdout, process.pid, deadline):
        piece = os.read(process.stdout.fileno(), 1 << 16)
        text += piece
        if len(text) > LIMIT_BYTES:
            raise TimeoutError(
                f"prints without end: {last_words(text[-200:].decode(errors='replace'))}"
            )
        if not piece:
            with suppress(subprocess.TimeoutExpired):
                status = process.wait(max(END_S, deadline - time.monotonic()))
                return status, text.decode(errors="replace")
            break
    said = last_words(text.decode(errors="replace"))
    raise TimeoutError(f"does not answer within {TIMEOUT_S:.0f} s; it said {said}")


def _speaks(output: IO[bytes], pid: int, deadline: float) -> bool:
    """Tells whether it printed something, or ended, in time."""
    until = deadline
    while not select.select([output], [], [], max(0.0, until - time.monotonic()))[0]:
        until = deadline + min(cpu_time.busy_s(pid), BUSY_S)
        if time.monotonic() >= until:
            return False
    return True


def _outcome(trial: Trial, status: int, text: str) -> bool | str:
    if trial.finds:
        found = re.search(trial.finds, text) if status == 0 else None
        return found[1] if found else ""
    return status == 0 and trial.shows in text


def capabilities() -> int:
    """Returns this process's effective capabilities as bits."""
    found = re.search(r"^CapEff:\s*([0-9a-f]+)", STATUS.read_text(encoding="utf-8"), re.MULTILINE)
    return int(found[1], 16) if found else 0


def is_filtered() -> bool:
    """Tells whether this process's system calls pass a seccomp filter (SECCOMP_MODE_FILTER)."""
    return "\nSeccomp:\t2\n" in STATUS.read_text(encoding="utf-8")


def hides_symbols() -> bool:
    """Tells whether kernel functions' addresses are hidden: bpftrace cannot name a frame then.

    They are all 0 without CAP_SYSLOG (kallsyms_show_value(), kernel/ksyms_common.c).
    """
    try:
        with KALLSYMS.open("rb") as file:
            lines = file.read(SYMBOLS_BYTES).splitlines()
    except OSError:
        return True
    return not any(line.split(b" ")[0].strip(b"0") for line in lines)


def recalled(path: str, what: str) -> object:
    """Returns what was remembered of a bpftrace on this kernel, to be checked; None: nothing."""
    with suppress(OSError, ValueError, RecursionError):
        data = private_folder.read(_memory(path, what), MEMORY_BYTES)
        return None if data is None else json.loads(data)
    return None


def remember(path: str, what: str, value: object) -> None:
    """Keeps what was found out about a bpftrace on this kernel."""
    with suppress(OSError):  # no memory is only slower
        private_folder.write(_memory(path, what), json.dumps(value).encode())


def _memory(path: str, what: str) -> str:
    """The file that keeps it. Raises OSError where that bpftrace is gone."""
    real = Path(path).resolve()
    found = real.stat()
    identity = (
        str(real),
        found.st_size,
        found.st_mtime_ns,
        platform.release(),
        os.geteuid(),
        capabilities(),
        raising.words(),
    )
    tried = repr((identity, TRIALS, held_btf.minimal()))
    name = hashlib.sha256(tried.encode()).hexdigest()[:16]
    return str(resources.cache() / f"{what}-{name}.json")
