"""What a program does besides tracing: calls that reach files, other programs or processes."""

import re
from dataclasses import dataclass

from mmaplock_bt.spec.declaration import Template

_REFUSED = "bpftrace refuses it without --unsafe, which is never given"
WHAT = {
    "cat": "prints a file, any that root can read",
    "#include": "has a file read, any that root can read",
    "import": "has a file read as a script",
    "skboutput": "writes a file",
    "system": f"runs a program ({_REFUSED})",
    "exec": f"runs a program ({_REFUSED})",
    "signal": f"ends or stops processes ({_REFUSED})",
    "signal_thread": f"ends or stops threads ({_REFUSED})",
    "override": f"changes what a function of the kernel returns ({_REFUSED})",
}
_CALLS = "|".join(name for name in WHAT if name.isidentifier() and name != "import")
_FOUND = re.compile(rf'(#)\s*include\b|\b(import)\s*"|(?<![\w$@.])({_CALLS})\s*\(')
_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)


@dataclass(frozen=True)
class Reach:
    """A call, and where: a line of the template, or 0 for one that only rendering makes."""

    call: str
    line: int

    @property
    def what(self) -> str:
        """What it does."""
        return WHAT[self.call]


def found(template: Template, program: str) -> list[Reach]:
    """Returns the calls in a user's template, and those of the rendered program that are in none.

    The shipped templates have none.
    """
    if template.is_shipped:
        return []
    source = _COMMENT.sub(lambda comment: "\n" * comment[0].count("\n"), template.source)
    lines = source.split("\n")
    calls = [Reach(call, at) for at, line in enumerate(lines, 1) for call in _calls(line)]
    written = {reach.call for reach in calls}
    _, _, body = program.partition("*/")  # the comment at its top
    made = [call for call in dict.fromkeys(_calls(body)) if call not in written]
    return calls + [Reach(call, 0) for call in made]


def _calls(text: str) -> list[str]:
    return ["#include" if hash_ else other or call for hash_, other, call in _FOUND.findall(text)]
