"""Whether a report has escape sequences: --color, else NO_COLOR, FORCE_COLOR and the terminal."""

import os
from typing import TextIO


def wanted(choice: str, stream: TextIO) -> bool:
    """Returns whether text for this stream may have colours and bold.

    `choice` is always, never or auto. no-color.org asks for no colour only; whoever sets it wants
    plain text, so bold goes, too. It wins over FORCE_COLOR (force-color.org).
    """
    if choice != "auto":
        return choice == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
