"""What the installed bpftrace accepts: each construct is tried, once per binary and kernel."""

import hashlib
import json
import os
import platform
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mmaplock_bt import resources
from mmaplock_bt.errors import TargetError

TIMEOUT_S = 30.0
REINSTALL = "reinstall bpftrace, or name another one with --bpftrace PATH"
END = " BEGIN { exit(); }"


@dataclass(frozen=True)
class Trial:
    """A program that bpftrace takes or refuses; `shows` must be in what it prints."""

    program: str
    meaning: str
    shows: str = ""

    @property
    def options(self) -> tuple[str, ...]:
        return ("-f", "json", "-e", self.program) if self.program else ("--help",)


# Each says which release made it differ; the outcome is what counts.
TRIALS = {
    "mm_owner": Trial(
        "tracepoint:mmap_lock:mmap_lock_released "
        "{ $o = ((struct mm_struct *)args->mm)->owner; @x = (uint64)$o->tgid; }" + END,
        "mm->owner is readable (needs BTF; 0.17, libbpf before 1.0 cannot read newer BTF)",
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
BTF = Path("/sys/kernel/btf/vmlinux")
# What a kernel does, by a name in its tables: a function, or a variable in its BTF.
FUNCTIONS = {
    "per_vma_locks": (KALLSYMS, b" lock_vma_under_rcu\n"),  # most page faults use them (6.4)
    "lockless_maps": (KALLSYMS, b" lock_next_vma\n"),  # /proc/PID/maps without mmap_lock (6.17)
    "dup_mmap": (KALLSYMS, b" dup_mmap\n"),  # a frame of its own; up to 6.12 it is inlined
    # a46023d5616e (after 6.18; another use up to 6.12): programs on raw tracepoints are preempted,
    # and the events of whoever comes in between are dropped. perf's way keeps preemption off.
    "tracepoint_srcu": (BTF, b"\0tracepoint_srcu_srcu_data\0"),
}


def kernel_functions() -> dict[str, bool]:
    """Looked for in kallsyms and BTF (0.2 s); False when these cannot be read."""
    tables = {path: _bytes(path) for path in (KALLSYMS, BTF)}
    return {name: wanted in tables[path] for name, (path, wanted) in FUNCTIONS.items()}


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def outcomes(path: str, *, fresh: bool = False) -> dict[str, bool]:
    """Name of each trial and kernel function -> accepted, there. Remembered unless `fresh`.

    The memory is keyed by the binary's path, size and time and by the kernel's release.
    """
    memory = _memory(path)
    if not fresh:
        with suppress(OSError, ValueError):
            known = json.loads(memory.read_text(encoding="utf-8"))
            if set(known) == {*TRIALS, *FUNCTIONS}:
                return {name: bool(value) for name, value in known.items()}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        tried = pool.map(lambda trial: _try(path, trial), TRIALS.values())
        found = dict(zip(TRIALS, tried, strict=True)) | kernel_functions()
    with suppress(OSError):  # no memory is only slower
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_text(json.dumps(found), encoding="utf-8")
    return found


def output(path: str, *options: str) -> tuple[int, str]:
    """Status and output. Raises TargetError when the program does not start or does not end."""
    try:
        process = subprocess.Popen(
            [path, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        text, _ = process.communicate(timeout=TIMEOUT_S)
    except OSError as error:
        raise TargetError(f"{path} does not start: {error.strerror}", REINSTALL) from error
    except subprocess.TimeoutExpired as error:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        words = f"{path} {options[0]} does not answer within {TIMEOUT_S:.0f} s"
        raise TargetError(words, REINSTALL) from error
    return process.returncode, text.decode(errors="replace")


def _try(path: str, trial: Trial) -> bool:
    status, text = output(path, *trial.options)
    return status == 0 and trial.shows in text


def _memory(path: str) -> Path:
    real = Path(path).resolve()
    found = real.stat()
    identity = (str(real), found.st_size, found.st_mtime_ns, platform.release())
    name = hashlib.sha256(repr((identity, TRIALS)).encode()).hexdigest()[:16]
    return resources.cache() / f"trials-{name}.json"
