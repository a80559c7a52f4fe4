"""Finds the cause of a kernel stack, by the table in causes.yaml."""

import re
from functools import cache

from mmaplock_bt.result import entry_frames
from mmaplock_bt.spec.causes import advised, patterns
from mmaplock_bt.stream import lock_frames

UNKNOWN_FRAMES = 3
MADVISE = "madvise"
UNKNOWN = "unknown (no stack)"
# SYS_ in causes.yaml: what architectures put before the name of a system call.
_SYS = r"(?:__(?:x64|ia32|arm64|riscv|s390x?|se|do|do_compat|se_compat)_?sys_|k?sys_)"
_FUNCTION = re.compile(r"[\w.]+")
Table = tuple[tuple[re.Pattern[str], str], ...]


def classify(frames: list[str]) -> str:
    """Returns the cause of a stack, innermost frame first.

    For an unknown one: 'other(function < caller < its caller)'.
    """
    call = entry_frames.call(frames)
    functions = [m[0] for m in map(_FUNCTION.match, frames[: len(frames) - bool(call)]) if m]
    for tier in range(len(_tables())):
        for function in functions:
            cause = _cause(function, tier)
            if cause is not None:
                return _closer(cause, call)
    known = [name for name in functions if not entry_frames.is_entry(name)] or functions
    return f"other({' < '.join(known[:UNKNOWN_FRAMES])})" if known else UNKNOWN


def of_open(frames: list[str]) -> str:
    """Returns the cause of a stack that was taken while the lock was waited for, or held.

    What the holder itself waits for, a page perhaps, is not why it took the lock.
    """
    return classify(lock_frames.held(frames) or frames)


def _closer(cause: str, call: str) -> str:
    """An advice is told by the call: at the end of a hold its own functions are mostly gone."""
    if not call or cause.partition("(")[0] != MADVISE:
        return cause
    return advised().get(call.removeprefix(MADVISE)[1:-1], call)


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
