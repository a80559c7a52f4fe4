"""What of a flood is left out before anybody reads it: whole lines, counted.

Events go first: the script says how many it printed. Who is who, and what bpftrace counted, stays.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mmaplock_bt.spec.outputs import Outputs
from mmaplock_bt.stream import bpftrace_json
from mmaplock_bt.stream.printed_lines import HEAD
from mmaplock_bt.stream.records import Dropped, layouts

_HEAD = HEAD.encode()
_ERROR = b'{"type": "helper_error"'
# What is left of a flood of any kind: the window's ends, maps, what bpftrace says of itself.
_ESSENTIAL = (
    *(_HEAD + name for name in (b"open|", b"close|")),
    *(b'{"type": "%b"' % name for name in (b"map", b"hist", b"stats", b"attached_probes")),
    b'{"type": "lost_events"',
)
_HELPER = re.compile(rb'"helper": "(\w+)".*?"retcode": (-?\d+)')


@dataclass
class Thinning:
    """Counts what it leaves out: printed lines, and reports of full maps and missing stacks."""

    outputs: Outputs
    lines: int = 0
    map_full: int = 0
    stack_errors: int = 0

    def __post_init__(self) -> None:
        self._events = tuple(_HEAD + name.encode() + b"|" for name in layouts(self.outputs))

    @property
    def has_dropped(self) -> bool:
        """Whether anything was left out."""
        return bool(self.lines or self.map_full or self.stack_errors)

    def dropped(self) -> Dropped:
        """Returns what was left out, as a record."""
        return Dropped(self.lines, self.map_full, self.stack_errors)

    def is_event(self, line: bytes) -> bool:
        """Whether a line is an event of an output."""
        return line.startswith(self._events)

    def left(self, lines: Sequence[bytes], *, is_hard: bool) -> list[bytes]:
        """Returns the lines without events and errors of helpers; `is_hard`: only what must be."""
        if is_hard:
            return [line for line in lines if line.startswith(_ESSENTIAL) or self._counted(line)]
        left_out = (*self._events, _ERROR)
        return [line for line in lines if not line.startswith(left_out) or self._counted(line)]

    def _counted(self, line: bytes) -> bool:
        """Counts a line that is left out; always false."""
        if not line.startswith(_ERROR):
            self.lines += 1
        elif found := _HELPER.search(line):
            kind = bpftrace_json.kind_of_error(found[1].decode(), int(found[2]))
            self.stack_errors += kind == "stack"
            self.map_full += kind == "full"
            self.lines += kind == "raced"
        return False
