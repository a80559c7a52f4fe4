"""Reads files that a user names: small regular ones, and as root none that others can write.

Imports little: `list` reads with it.
"""

import os
import stat
from pathlib import Path

from mmaplock_bt.errors import UsageError
from mmaplock_bt.escaping import shown
from mmaplock_bt.machine import strangers

LIMIT_BYTES = 256 << 10  # a hundred times the largest that is shipped
NAME_LETTERS = 300


def read(path: Path, what: str, *, obeyed: bool = False) -> str:
    """Returns the text of a user's file; `what` names it in the message. Raises UsageError.

    One that is `obeyed` (it says what root runs) is refused to root where others can write it.
    """
    named = f"the {what} {shown(path, NAME_LETTERS)}"
    try:
        _check_regular(path.stat(), named)  # opening alone starts some devices
        if obeyed and os.geteuid() == 0:
            _check_private(path, named)
        return _regular(path, named).decode("utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {named}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{named} is not UTF-8 text") from error
    except ValueError as error:  # a NUL in the path
        raise UsageError(f"cannot read {named}: no file has such a name") from error


def _check_private(path: Path, named: str) -> None:
    """Raises UsageError; OSError where there is no such file."""
    found = strangers.stranger(str(path))
    if found is not None:
        raise UsageError(
            f"{named} is not obeyed as root: {shown(found.path, NAME_LETTERS)} {found.why}, who "
            f"could change what root runs; {found.mend}, or copy it where only root can write"
        )


def _regular(path: Path, named: str) -> bytes:
    """Whatever else bears the name can keep us waiting, or never ends. Raises UsageError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        _check_regular(os.fstat(descriptor), named)
        data = file.read(LIMIT_BYTES + 1) or b""
    if len(data) > LIMIT_BYTES:
        raise UsageError(f"{named} is too long: at most {LIMIT_BYTES >> 10} KiB are read")
    return data


def _check_regular(found: os.stat_result, named: str) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"cannot read {named}: it is not a regular file")
