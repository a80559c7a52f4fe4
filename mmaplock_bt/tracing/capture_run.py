"""The run that a trap captures a profile by: a process that ends with this one."""

import os
import sys
from contextlib import suppress
from pathlib import Path

# SIGTERM: it delivers what it has. A distribution's package keeps modules where only its own script
# looks for them.
_CAPTURE = (
    "import signal, sys; sys.path[:] = {}; from mmaplock_bt.tracing import process; "
    "process.end_with_parent({}, signal.SIGTERM); "
    "from mmaplock_bt.cli import run_main; run_main()"
)


def words(profile: str, length: str, folder: Path) -> list[str]:
    """Returns the command line of a run of this length into a folder.

    No module comes from the current folder.
    """
    found = [sys.executable, "-P", "-c", _CAPTURE.format(_places(), os.getpid())]
    found += ["run", profile, "-q", "-d", length, "-o", str(folder / "result.json")]
    return [*found, "-o", str(folder / "report.txt"), "--format", "none"]


def _places() -> list[str]:
    """Where this process finds modules, without the current folder that `python -m` puts first."""
    is_there = not sys.flags.safe_path and sys.path[0] in ("", str(Path.cwd()))
    return sys.path[1:] if is_there else sys.path


def used(folder: Path) -> int:
    """Returns the bytes of the files below a folder."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # somebody has removed it meanwhile
            total += path.lstat().st_size if path.is_file() else 0
    return total
