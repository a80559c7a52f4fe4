"""Every failure that a user can cause or meet: a finished sentence and its exit code."""


class Failure(Exception):
    """The run cannot go on; the message says what, where and what to do."""

    exit_code = 2


class UsageError(Failure):
    """Wrong command line, profile or template."""


class TargetError(Failure):
    """This machine cannot trace: privilege, kernel, tracefs or bpftrace. `mend` is what to do."""

    exit_code = 3

    def __init__(self, found: str, mend: str) -> None:
        super().__init__(f"{found}: {mend}")
        self.found = found
        self.mend = mend


class BpftraceError(Failure):
    """bpftrace refused the script, crashed or went silent."""

    exit_code = 4


class RefusedError(BpftraceError):
    """bpftrace ended before its probes were live."""


class Inconclusive(Failure):
    """Nothing can be said from what was collected."""

    exit_code = 5


class Interrupted(Failure):
    """Stopped by a signal before there was a result."""

    exit_code = 130


COMMAND_FAILED = 6
