"""Every failure that a user can cause or meet: a finished sentence and its exit code."""

from mmaplock_bt.escaping import sentence


class Failure(Exception):
    """A run that cannot go on; each sentence says what happened, where, and what to do.

    They may quote what the user or a file gave: each is escaped and shortened here. They are
    shown a line each.
    """

    exit_code = 2

    def __init__(self, *sentences: str) -> None:
        self.sentences = tuple(map(sentence, sentences))
        super().__init__(*self.sentences)

    def __str__(self) -> str:
        return "\n".join(self.sentences)


class UsageError(Failure):
    """A wrong command line, profile, template or file. Exit code 2."""


class TargetError(Failure):
    """A machine that cannot trace: privilege, kernel, tracefs or bpftrace. Exit code 3.

    `found` says what is missing, `mend` what to do about it.
    """

    exit_code = 3

    def __init__(self, found: str, mend: str) -> None:
        super().__init__(f"{found}: {mend}")
        self.found = found
        self.mend = mend


class BpftraceError(Failure):
    """A bpftrace that refused the script, crashed or went silent. Exit code 4.

    Its own last words may follow, a line each.
    """

    exit_code = 4

    def __init__(self, text: str) -> None:
        super().__init__(*text.split("\n"))


class RefusedError(BpftraceError):
    """A bpftrace that ended before its probes were live."""


class Inconclusive(Failure):
    """Data from which nothing can be concluded. Exit code 5."""

    exit_code = 5


class Interrupted(Failure):
    """A run that a signal stopped before there was a result. Exit code 130."""

    exit_code = 130


class Fault(Failure):
    """A fault of this program's own. Exit code 70, EX_SOFTWARE of sysexits.h."""

    exit_code = 70


# Exit code of `run` where all went well but the traced command failed.
COMMAND_FAILED = 6
