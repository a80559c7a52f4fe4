"""A private instance of tracefs: events, buffers and clock of its own, gone when it is left.

Its name holds the pid and the start of the process that it belongs to: what a killed one has left
behind is known by that, and removed by whoever comes next.
"""

import errno
import os
import re
import signal
import time
from contextlib import suppress
from pathlib import Path

from mmaplock_bt.errors import TargetError
from mmaplock_bt.escaping import shown
from mmaplock_bt.signals import ENDING

_NAME = re.compile(r"mmaplock-bt-(\d{1,10})-(\d{1,20})", re.ASCII)
# Of the fields behind the command in /proc/PID/stat (proc(5): the 22nd of all).
_STATE, _START = 0, 19
BUSY_S = 2.0  # a reader of another's has a file of it open


class Instance:
    """A context manager: entering makes it, leaving removes it. Raises TargetError."""

    def __init__(self, tracefs: Path) -> None:
        self.path = tracefs / "instances" / name(os.getpid())

    def __enter__(self) -> "Instance":
        try:
            self.path.mkdir(mode=0o700)
        except OSError as error:
            raise _unmade(self.path, error.errno or 0) from error
        return self

    def __exit__(self, *_: object) -> None:
        remove(self.path)

    def set(self, file: str, text: str) -> None:
        """Writes a setting. Raises TargetError."""
        path = self.path / file
        try:
            path.write_text(text, encoding="ascii")
        except OSError as error:
            found = f"tracefs refuses '{shown(text)}' in {path}: {error.strerror}"
            raise TargetError(found, "trace with bpftrace") from error

    def has(self, file: str) -> bool:
        """Whether there is such a file."""
        return (self.path / file).exists()

    def cpus(self) -> list[Path]:
        """Returns the folder of each CPU that the kernel has a buffer for."""
        return sorted((self.path / "per_cpu").glob("cpu[0-9]*"))

    def lost(self, *, unread: bool) -> int:
        """Returns how many events no reader came for in time, on all CPUs.

        With `unread` also those that are there still: they will not be read.
        """
        found = 0
        for folder in self.cpus():
            with suppress(OSError):
                text = (folder / "stats").read_text(encoding="ascii")
                counts = dict(re.findall(r"^([a-z ]+): (\d+)$", text, re.MULTILINE))
                names = ("overrun", "dropped events", *["entries"] * unread)
                found += sum(int(counts.get(name, 0)) for name in names)
        return found


def check(tracefs: Path) -> None:
    """Makes one and removes it. Raises TargetError.

    A child does: it ends with that done, be this process killed meanwhile.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        pid = os.fork()
        if pid == 0:
            _try(tracefs)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    _, status = os.waitpid(pid, 0)
    if code := os.waitstatus_to_exitcode(status):
        raise _unmade(tracefs / "instances", max(code, 0))


def _try(tracefs: Path) -> None:
    """In the child. Does not return: its exit code is the number of the error, or 0."""
    code = errno.EIO
    try:
        with Instance(tracefs):
            code = 0
    except TargetError as error:
        code = getattr(error.__cause__, "errno", None) or code
    finally:
        os._exit(code)


def _unmade(path: Path, number: int) -> TargetError:
    return TargetError(
        f"no instance of tracefs can be made ({path}: {os.strerror(number)})",
        "run it as root, where tracefs may be written (kernel lockdown forbids that)",
    )


def name(pid: int) -> str:
    """Returns the name of a process's instance. Raises OSError for one that is gone."""
    return f"mmaplock-bt-{pid}-{started(pid)}"


def started(pid: int) -> int:
    """Returns when a process began, in ticks since the boot.

    Raises OSError for one that is gone, be it that its parent has not taken note.
    """
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    if fields[_STATE] in (b"Z", b"X"):
        raise ProcessLookupError(pid)
    return int(fields[_START])


def remove_left(tracefs: Path) -> list[str]:
    """Removes the instances of processes that are gone; returns their names."""
    left = []
    for folder in _folders(tracefs / "instances"):
        if not is_used(folder.name):
            remove(folder)
            left.append(folder.name)
    return left


def remove_of(tracefs: Path, pid: int) -> None:
    """Removes what a process has left that has just ended, by its pid."""
    for folder in _folders(tracefs / "instances"):
        if folder.name.startswith(f"mmaplock-bt-{pid}-"):
            remove(folder)


def remove(folder: Path) -> None:
    """Switches its events off, and removes it; not while somebody has a file of it open."""
    for file in ("tracing_on", "events/enable"):
        with suppress(OSError):
            descriptor = os.open(folder / file, os.O_WRONLY)  # it makes no file
            try:
                os.write(descriptor, b"0")
            finally:
                os.close(descriptor)
    deadline = time.monotonic() + BUSY_S
    while folder.exists():
        with suppress(OSError):
            folder.rmdir()
            return
        if time.monotonic() > deadline:
            return
        time.sleep(0.02)


def is_used(name: str) -> bool:
    """Whether the process that an instance's name tells is there."""
    found = _NAME.fullmatch(name)
    with suppress(OSError, IndexError):
        return found is not None and started(int(found[1])) == int(found[2])
    return False


def _folders(instances: Path) -> list[Path]:
    with suppress(OSError):
        return [one for one in instances.iterdir() if _NAME.fullmatch(one.name)]
    return []
