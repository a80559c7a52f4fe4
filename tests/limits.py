"""How long tests wait for what must come: on a slow machine, as an emulated one, longer."""

import os

SLOWNESS = float(os.environ.get("MMAPLOCK_TESTS_SLOWNESS", "1"))  # times as long
# How many bpftraces start at once, None for any number: where each takes minutes, one by one.
STARTS_AT_ONCE = None if SLOWNESS == 1 else 1


def limit_s(seconds: float) -> float:
    """Returns a limit in seconds, given that of a machine that is not slow."""
    return seconds * SLOWNESS
