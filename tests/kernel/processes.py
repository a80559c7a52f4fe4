"""Runs of the tool as processes of their own, and bpftrace's process below them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmaplock_bt import workload
from mmaplock_bt.machine import features, held_btf
from mmaplock_bt.machine.inventory import Machine
from mmaplock_bt.tracing.descendants import descendants
from tests.limits import limit_s

WAITING = [sys.executable, "-c", "import sys; print('go', flush=True); sys.stdin.read()"]


def bpftrace_pids() -> set[str]:
    """bpftrace processes below this one, by /proc/PID/stat (which takes no lock)."""
    found = set()
    for pid in descendants(os.getpid()):
        with suppress(OSError):
            text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
            if "(bpftrace" in text and ") Z" not in text:
                found.add(str(pid))
    return found


def assert_accepted(machine: Machine, script: Path) -> None:
    """bpftrace compiles a script, and traces nothing with it."""
    # Up to 0.21 by -d, which from 0.22 on wants a word (bpftrace#3203).
    _, told = features.output(machine.path, "--help")
    flag = "--dry-run" if "--dry-run" in told else "-d"
    words = [machine.path, flag, str(script)]
    with held_btf.held():
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def bpftrace_of(run: subprocess.Popen[str]) -> int:
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    (found,) = (pid for pid in children if pid in bpftrace_pids())
    return int(found)


def begun(*words: str) -> subprocess.Popen[str]:
    """A run whose window is open, as the tool itself says."""
    ready, told = os.pipe()
    run = subprocess.Popen(
        [sys.executable, "-m", "mmaplock_bt", "run", *words, "--ready-fd", str(told)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=[told],
    )
    os.close(told)
    with os.fdopen(ready) as window:
        assert window.read() == "ready\n", run.communicate(timeout=limit_s(60))[1]
    return run


def started(*words: str) -> subprocess.Popen[str]:
    """A run whose command says 'go' once it is traced (on our stderr)."""
    run = subprocess.Popen(
        [sys.executable, "-m", "mmaplock_bt", "run", *words, "--", *WAITING],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.stderr is not None
    while (line := run.stderr.readline()) != "go\n":
        assert line, "the run ended before its command began"
    return run


@contextmanager
def running(name: str, *arguments: int) -> Iterator[subprocess.Popen[bytes]]:
    """A workload beside the traced window; yields its process, ends it and what it started."""
    process = subprocess.Popen(
        workload.command(name, *arguments), stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
