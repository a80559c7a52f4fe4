"""`python -m mmaplock_bt`, and the console script: the command line."""

# Not signal, whose own imports take as long as all of this: so long Ctrl-C would be a traceback.
import _signal  # type: ignore[import-not-found]

TYPE_CHECKING = False  # typing takes as long as all of this
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> "NoReturn":
    """Runs the command line of this process and exits with its code."""
    # Ctrl-C while modules are imported is the end, and no traceback.
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    from mmaplock_bt.cli import run_main  # noqa: PLC0415

    run_main()


if __name__ == "__main__":
    main()
