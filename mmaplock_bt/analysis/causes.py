"""Finds the cause of a kernel stack, by the table in causes.yaml."""

import re
from functools import cache

from mmaplock_bt.result.entry_frames import is_entry
from mmaplock_bt.spec.causes import patterns
from mmaplock_bt.stream import lock_frames

UNKNOWN_FRAMES = 3
UNKNOWN = "unknown (no stack)"
# SYS_ in causes.yaml: what architectures put before the name of a system call.
_SYS = r"(?:__(?:x64|ia32|arm64|riscv|s390x?|se|do|do_compat|se_compat)_?sys_|k?sys_)"
_FUNCTION = re.compile(r"[\w.]+")
Table = tuple[tuple[re.Pattern[str], str], ...]


def classify(frames: list[str]) -> str:
    """Returns the cause of a stack, innermost frame first.

    For an unknown one: 'other(function < caller < its caller)'.
    """
    functions = [match[0] for match in map(_FUNCTION.match, frames) if match]
    for tier in range(len(_tables())):
        for function in functions:
            cause = _cause(function, tier)
            if cause is not None:
                return cause
    known = [name for name in functions if not is_entry(name)] or functions
    return f"other({' < '.join(known[:UNKNOWN_FRAMES])})" if known else UNKNOWN


def of_open(frames: list[str]) -> str:
    """Returns the cause of a stack that was taken while the lock was waited for, or held.

    What the holder itself waits for, a page perhaps, is not why it took the lock.
    """
    return classify(lock_frames.held(frames) or frames)


@cache
def _tables() -> tuple[Table, Table]:
    """The functions that name a cause by themselves, then those that only hint at one."""
    return _compiled("frames"), _compiled("callers")


def _compiled(tier: str) -> Table:
    return tuple(
        (re.compile("|".join(found).replace("SYS_", _SYS)), cause)
        for cause, found in patterns(tier)
    )


@cache
def _cause(function: str, tier: int) -> str | None:
    # Compilers rename functions that they split or specialise.
    plain = re.sub(r"\.(isra|part|constprop|cold|llvm)\b.*", "", function)
    return next((cause for pattern, cause in _tables()[tier] if pattern.fullmatch(plain)), None)
