"""`python -m mmaplock_bt`, and the console script: the command line."""

from __future__ import annotations

import signal

TYPE_CHECKING = False  # typing takes as long as all of this
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> NoReturn:
    """Runs the command line of this process and exits with its code."""
    # Ctrl-C while modules are imported is the end, and no traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from mmaplock_bt.cli import run_main  # noqa: PLC0415

    run_main()


if __name__ == "__main__":
    main()
