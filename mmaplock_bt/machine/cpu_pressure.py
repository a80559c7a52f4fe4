"""How long tasks waited for a CPU: pressure stall information (Linux 4.20, CONFIG_PSI)."""

import re
from pathlib import Path

FILE = Path("/proc/pressure/cpu")


def waited_ns(file: Path = FILE) -> int | None:
    """Returns for how long, since boot, some task could run and had no CPU, in ns.

    None where the kernel does not tell it.
    """
    try:
        found = re.search(r"^some .*total=(\d+)", file.read_text(), re.MULTILINE)
    except OSError:
        return None
    # The kernel counts it in µs.
    return int(found[1]) * 1000 if found else None


def since(before_ns: int | None) -> int | None:
    """Returns the growth of waited_ns() since an earlier value of it, in ns; None: not told."""
    now_ns = waited_ns()
    return None if now_ns is None or before_ns is None else now_ns - before_ns
