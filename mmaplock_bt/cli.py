"""From words to an exit code: calls one sub-command, prints every error in one place.

Imports little: a run's bpftrace is started before the rest of the program is there (see
tracing/head_start).
"""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module

from mmaplock_bt import BPFTRACE, NAME, person, signals, standard_streams
from mmaplock_bt.errors import Failure, Interrupted, UsageError

TYPE_CHECKING = False  # typing takes as long as all of this
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from typing import NoReturn

    from mmaplock_bt.tracing.head_start import HeadStart

WRITERS = (["run"], ["top"], ["report"], ["gate"], ["compare"], ["merge"])

# Python looks for cycles again and again among what is kept: a third of the time that a big stream
# takes. There are few cycles here.
GC_OBJECTS = 100_000


def run_main() -> NoReturn:
    """Runs the command line of this process and exits with its code.

    All that was begun has ended by then. Python would still take apart every module: tens of
    milliseconds, for nothing.
    """
    gc.set_threshold(GC_OBJECTS)
    standard_streams.install()
    signals.hear_interrupts()
    try:
        code = main(sys.argv[1:])
    except SystemExit as ended:  # argparse's
        code = ended.code if isinstance(ended.code, int) else 0
    # Whoever reads no further is no error; a result that could not be shown was told already.
    if (lacking := standard_streams.failure()) and code == 0:
        code = _complain(UsageError(f"cannot write standard output: {lacking}"))
    os._exit(code)


def main(argv: list[str]) -> int:
    """Runs a command line (without the program's name) and returns the exit code.

    Raises no Failure: its sentence goes to stderr, its code is returned.
    """
    try:
        if argv[:1] in WRITERS:
            person.serve(None)
        head = _head_start(argv)
        try:
            return _called(argv, head)
        finally:
            if head is not None:
                head.end()
    except Failure as failure:
        return _complain(failure)
    except KeyboardInterrupt:
        return _complain(Interrupted("interrupted before there was a result"))
    except SystemExit:
        raise
    except BaseException as error:
        # The last resort: Python's own exit code is 1, and that means that a gate failed. Ctrl-C
        # in the import of a module that is written in Rust comes as that one's panic.
        if signals.is_interrupted():
            return _complain(Interrupted("interrupted before there was a result"))
        from mmaplock_bt.commands import fault  # noqa: PLC0415  (seldom needed)

        return _complain(fault.of(error))


def _head_start(argv: list[str]) -> HeadStart | None:
    if argv[:1] != ["run"] or person.is_handed_on(BPFTRACE):
        return None
    from mmaplock_bt.tracing import head_start  # noqa: PLC0415  (--help waits for its imports)

    return head_start.of(argv)


def _called(argv: list[str], head: HeadStart | None) -> int:
    from mmaplock_bt import command_line  # noqa: PLC0415  (a head start does not wait for it)

    arguments = command_line.parse(argv)
    arguments.head_start = head
    module, function, _ = command_line.COMMANDS[arguments.verb]
    from mmaplock_bt.commands import combinations  # noqa: PLC0415  (--help needs none)

    combinations.check(arguments)
    entry: Callable[[argparse.Namespace], int] = getattr(
        import_module(f"mmaplock_bt.commands.{module}"), function
    )
    return entry(arguments)


def _complain(failure: Failure) -> int:
    first, *further = failure.sentences
    for line in (f"{NAME}: {first}", *further):
        standard_streams.tell(line)
    return failure.exit_code
