"""The records of a raw stream: lines that a script prints, and lines of our own among them.

A script's line is `NAME|value|value...`; the order of the values is the order of the fields here.
Templates get names, formats, bits and kind numbers from here (`lines`, `BITS`, `KINDS`), and the
decoder reads by the same table. Our own lines are JSON objects that bpftrace never prints.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import Field, Strict, TypeAdapter

from mmaplock_bt.result.model import Cost, EndedBy, Role
from mmaplock_bt.result.rows import Count, Flag, Whole
from mmaplock_bt.spec.columns import (
    ACTOR_KINDS,
    FAULTS,
    MODES,
    OWNER_KINDS,
    STANDARD,
    Column,
    ColumnType,
)
from mmaplock_bt.spec.outputs import Outputs
from mmaplock_bt.stream import bpftrace_json, stacks
from mmaplock_bt.stream.bpftrace_json import Printed, Unparsed
from mmaplock_bt.stream.printed_lines import DIGITS, HEAD, PrintedLines, Row, head_of
from mmaplock_bt.stream.stacks import Stack

FORMATS: dict[ColumnType, str] = {
    "int": "%llu",
    "enum": "%llu",
    "hex": "%llx",
    "text": "%rx",  # of buf(), exact in every release; %s garbles bytes above 0x7f
    "cgroup": "%llu",
    "kernel_stack": "%s",
    "user_stack": "%s",
}
# Behind a kernel stack: with which advice the thread called madvise (stream/stacks).
FORMATS_WITH_ADVICE = FORMATS | {"kernel_stack": f"%s{stacks.MADVISE} %llu"}
# A value of @holding: time << HOLD_TIME | LATE | depth of nested reads << 1 | write.
# A value of @waiting: time << WAIT_TIME | contended | write.
BITS = {
    "write": 1,
    "nested": 2,  # one nested read more
    "any_nested": 6,
    "late": 8,  # the hold was asked for before the window
    "HOLD_TIME": 4,
    "contended": 2,  # who asked met somebody
    "WAIT_TIME": 2,
}
# The value of @every: since << SINCE | log2 of before << BEFORE | log2 of now. One lock in `now` is
# followed; what began earlier than `since` (ns) was one in `before`.
EVERY = {"SINCE": 10, "BEFORE": 5, "log2": 31}
KINDS = {
    "mode": {label: number for number, label in enumerate(MODES)},
    "owner": {label: number for number, label in enumerate(OWNER_KINDS)},
    "actor": {label: number for number, label in enumerate(ACTOR_KINDS)},
    "fault": {label: number for number, label in enumerate(FAULTS)},
}
BATCH = 128  # events that are read at once: few enough to stay in a CPU's cache
FEW = 32  # of which the parser reads each where one is not as it should be
COMM = 64  # letters of sixteen bytes as %rx prints them
_Tick = Annotated[list[Count], Field(min_length=3, max_length=3)]
_Digits = Annotated[str, Field(pattern=r"^[0-9]{1,20}$")]
HOLDING, WAITING, BOOK = "holding", "waiting", "book_"  # maps; books are counters of this prefix
BLOCKED = (
    "blocked"  # since when a lock's holder keeps others waiting, where only those are followed
)
CLOSED = "closed"  # a map of the window's end: the line that says so may be lost
PRINTED = "printed_"  # and counters of the lines that a script printed, by the lines' names
ACQUIRED_AT = "acquired_at"  # a template's map of stacks by (tid, mm), kept while the hold lasts


def held(value: int) -> tuple[int, str, bool]:
    """Reads a value of @holding: (begin in ns, mode, whether asked for before the window)."""
    return value >> BITS["HOLD_TIME"], MODES[value & BITS["write"]], bool(value & BITS["late"])


def waited(value: int) -> tuple[int, str]:
    """Reads a value of @waiting: (begin in ns, mode)."""
    return value >> BITS["WAIT_TIME"], MODES[value & BITS["write"]]


def every(since_ns: int, before: int, now: int) -> int:
    """Returns the value of @every; `before` and `now` are powers of two."""
    since = since_ns >> EVERY["SINCE"] << EVERY["SINCE"]
    return since | (before.bit_length() - 1) << EVERY["BEFORE"] | (now.bit_length() - 1)


def power_of_two(sample: int) -> int:
    """Returns the first power of two that is not below."""
    return 1 << (sample - 1).bit_length()


@dataclass(frozen=True)
class Layout:
    """A kind of printed line: its name, and its columns in the order in which they are printed."""

    name: str
    columns: tuple[Column, ...]

    def format(
        self, unprinted: Iterable[str] = (), formats: Mapping[ColumnType, str] = FORMATS
    ) -> str:
        """Returns the printf format; `unprinted` columns leave their places empty."""
        words = ("" if c.name in unprinted else formats[c.type] for c in self.columns)
        return "|".join([self.name, *words]) + "\\n"

    def read(self, rest: str) -> dict[str, Any]:
        """Reads what follows the name as values by column. Raises ValueError."""
        # No more parts than columns: a frame, printed last, may hold a bar.
        parts = rest.split("|", len(self.columns) - 1)
        return {
            column.name: _READERS[column.type](part, column)
            for column, part in zip(self.columns, parts, strict=True)
        }

    def lines(self) -> PrintedLines:
        """Returns what reads many such lines at once."""
        return PrintedLines(self.columns, tuple(map(_reader, self.columns)))


def text(escaped: str) -> str:
    r"""Reads printf's %rx of 16 bytes, '\x61\x22\x00…', as text up to the NUL: 'a"'.

    Bytes that are no UTF-8 stay as \xNN.
    """
    raw = bytes.fromhex(escaped[:COMM].replace("\\x", "")).split(b"\0", 1)[0]
    return raw.decode("utf-8", "backslashreplace")


def label(number: int, column: Column) -> str:
    """Returns the label of an enum's number. Raises ValueError."""
    if not 0 <= number < len(column.labels):
        raise ValueError(f"{column.name} has no value {number}")
    return column.labels[number]


def hexadecimal(number: int) -> str:
    """Writes an address; keys up to 0.23 show it as negative from 2^63 on."""
    return f"0x{number & (2**64 - 1):016x}"


_READERS: dict[ColumnType, Callable[[str, Column], Any]] = {
    "int": lambda part, _: _integer(part),
    "cgroup": lambda part, _: _integer(part),
    "hex": lambda part, _: hexadecimal(_integer(part, 16)),
    "enum": lambda part, column: label(_integer(part), column),
    "text": lambda part, _: text(part),
    "kernel_stack": lambda part, _: stacks.frames(part),
    "user_stack": lambda part, _: Stack(f"0x{one:x}" for one in stacks.addresses(part)),
}


def _integer(part: str, base: int = 10) -> int:
    """As printf's %llu and %llx print it. Raises ValueError: int() takes more, like 1_0 and ٣."""
    if not part.isascii() or not part.isalnum() or len(part) > DIGITS:
        raise ValueError("no number")
    return int(part, base)


def _reader(column: Column) -> Callable[[str], Any]:
    read = _READERS[column.type]
    return lambda part: read(part, column)


@dataclass(frozen=True, slots=True)
class Opened:
    """The window's opening. `time_ns` is bpftrace's nsecs, as in all records of a script."""

    time_ns: int


@dataclass(frozen=True, slots=True)
class Closed:
    """The window's closing."""

    time_ns: int


@dataclass(frozen=True, slots=True)
class Named:
    """Memory cgroup (an id) and name of a process that is in a key; printed once."""

    pid: int
    cgroup: int
    comm: str


@dataclass(frozen=True, slots=True)
class Whose:
    """The owner of an address space; printed when it is met first or its owner changes."""

    mm: str
    owner_pid: int
    owner_kind: str
    cgroup: int
    owner_comm: str


@dataclass(frozen=True, slots=True)
class Thread:
    """Process, kind and name of a thread."""

    tid: int
    pid: int
    actor_kind: str
    comm: str


@dataclass(frozen=True, slots=True)
class Holder:
    """The holder of a lock that a thread begins to wait for, from the rwsem's owner word."""

    mm: str
    time_ns: int
    mode: str
    tid: int
    pid: int
    comm: str


@dataclass(frozen=True, slots=True)
class Running:
    """The sampled kernel stack of a holder that runs on a CPU."""

    tid: int
    mm: str
    time_ns: int
    kernel_stack: list[str]


@dataclass(frozen=True, slots=True)
class Cgroup:
    """A memory cgroup (an id) that is in a key; printed once."""

    cgroup: int


Said = Opened | Closed | Named | Whose | Thread | Holder | Running | Cgroup
# A script's own lines by name; the fields of each class are columns.
_CLASSES: dict[str, type[Said]] = {
    "open": Opened, "close": Closed, "name": Named, "whose": Whose, "thread": Thread,
    "holder": Holder, "running": Running, "cgroup": Cgroup,
}  # fmt: skip
NAMES: dict[type, str] = {kind: name for name, kind in _CLASSES.items()}
LINES = {
    name: Layout(name, tuple(STANDARD[one.name] for one in fields(kind)))
    for name, kind in _CLASSES.items()
}


class Events(NamedTuple):
    """Rows of an events output: values by `names`, cgroups as ids, user frames as addresses."""

    output: str
    names: tuple[str, ...]
    rows: list[Row]

    def column(self, name: str) -> list[Any]:
        """Returns a column's values, one for each row."""
        at = self.names.index(name)
        return [row[at] for row in self.rows]


def layouts(outputs: Outputs) -> dict[str, Layout]:
    """Returns the layout of each events output that the script prints, by name."""
    return {
        name: Layout(name, output.printed)
        for name, output in outputs.items()
        if output.kind == "events" and output.is_printed
    }


class _Own:
    """A record of our own; `TYPE` marks its lines."""

    TYPE: ClassVar[str]

    def line(self) -> str:
        """Writes the record as a line of JSON."""
        return json.dumps({"type": self.TYPE, **asdict(self)})  # type: ignore[call-overload]


@dataclass(frozen=True)
class UserFrames(_Own):
    """The names of a process's user frames, by address.

    `unread` are those in files for which there was no time.
    """

    TYPE = "mmaplock-bt-frames"
    pid: Whole
    frames: dict[str, str]
    unread: Count = 0


@dataclass(frozen=True)
class CgroupPaths(_Own):
    """The paths of memory cgroups, by id."""

    TYPE = "mmaplock-bt-cgroups"
    paths: dict[_Digits, str]


@dataclass(frozen=True)
class Span:
    """An open wait or hold; `since_ns` is its begin by bpftrace's nsecs.

    `pid` and `comm` are given where the rwsem's owner word told them.
    """

    state: str
    tid: Whole
    mm: str
    mode: str
    since_ns: Whole
    pid: Whole | None = None
    comm: str | None = None


@dataclass(frozen=True)
class Faulting:
    """A thread in a page fault that a writer waits for, with its kernel frames."""

    tid: Whole
    comm: str
    kernel_stack: list[str]


@dataclass(frozen=True)
class Look(_Own):
    """A look at what is open, with the threads' current stacks by thread id.

    `faulting` are threads in page faults, by the id of a thread that waits for them while it holds
    the lock. `failed` says why it saw nothing.
    """

    TYPE = "mmaplock-bt-open"
    now_ns: Whole = 0
    last: Flag = False
    spans: tuple[Span, ...] = ()
    stacks: dict[str, list[str]] = field(default_factory=dict)
    faulting: dict[str, Faulting] = field(default_factory=dict)
    failed: str = ""


@dataclass(frozen=True)
class Sleeper:
    """A thread that 'waits' for an mmap_lock, or that 'may hold' it, with its kernel frames."""

    tid: Whole
    pid: Whole
    comm: str
    role: Role
    kernel_stack: list[str]


@dataclass(frozen=True)
class Sleepers(_Own):
    """Threads that a look at /proc found asleep; `cut`: there may be more."""

    TYPE = "mmaplock-bt-sleepers"
    sleepers: tuple[Sleeper, ...] = ()
    cut: Flag = False


@dataclass(frozen=True)
class Followed(_Own):
    """From `since_ns` after the window's opening on one lock in `sample` was followed.

    It comes before what began later. `ppm` is what had been seen before, as in a Cost.
    """

    TYPE = "mmaplock-bt-sample"
    since_ns: Count
    sample: Annotated[int, Strict(), Field(ge=1, lt=2**63)]
    ppm: Count | None


@dataclass(frozen=True)
class Ticked(_Own):
    """What histograms have counted since the last one: [mode, lower end of a bucket, count]s."""

    TYPE = "mmaplock-bt-tick"
    now_ns: Count
    counts: dict[str, list[_Tick]]


@dataclass(frozen=True)
class Spent(_Own):
    """What the window cost; it comes at its end."""

    TYPE = "mmaplock-bt-cost"
    cost: Cost


@dataclass(frozen=True)
class Dropped(_Own):
    """Lines that came faster than they were read, and were left out, since the last such record.

    Printed lines, and reports of full maps and of missing stacks.
    """

    TYPE = "mmaplock-bt-dropped"
    lines: Count
    map_full: Count = 0
    stack_errors: Count = 0


@dataclass(frozen=True)
class Trailer(_Own):
    """The end of a raw stream.

    `status` is the traced command's, `cpu_wait_ns` how long some task waited for a CPU, `failure`
    the sentence about a bpftrace that died.
    """

    TYPE = "mmaplock-bt-end"
    ended_by: EndedBy
    duration_ns: Whole
    status: Whole | None = None
    cpu_wait_ns: Whole | None = None
    failure: str | None = None


Own = UserFrames | CgroupPaths | Look | Sleepers | Followed | Ticked | Spent | Dropped | Trailer
OWN = (UserFrames, CgroupPaths, Look, Sleepers, Followed, Ticked, Spent, Dropped, Trailer)
_OWN: dict[str, type[Own]] = {kind.TYPE: kind for kind in OWN}
_MARKS = tuple(f'{{"type": "{kind}"' for kind in _OWN)
Record = Said | Events | Own | bpftrace_json.Record


class Decoder:
    """Reads lines as records, each line once; events of an output come together."""

    def __init__(self, outputs: Outputs) -> None:
        self._events = layouts(outputs)
        self._names = {n: tuple(c.name for c in one.columns) for n, one in self._events.items()}
        known = {**LINES, **self._events}
        self._readers = {name: layout.lines() for name, layout in known.items()}
        self._kinds = {HEAD + name: name for name in self._readers}

    def decode(self, lines: Iterable[str]) -> Iterator[Record]:
        """Yields at least one record for each line that is not blank, but one for many events.

        They keep their order, save for events of different outputs. Never raises.
        """
        waiting: dict[str, list[str]] = {HEAD + name: [] for name in self._events}
        for line in lines:
            batch = waiting.get(head_of(line))
            if batch is None:
                yield from self._batches(waiting)
                yield from self._single(line)
            else:
                batch.append(line)
                if len(batch) >= BATCH:
                    yield from self._batches(waiting)
        yield from self._batches(waiting)

    def reads(self, line: str) -> bool:
        """Tells whether a line is read without the parser."""
        return self._row(line) is not None

    def _batches(self, waiting: dict[str, list[str]]) -> Iterator[Record]:
        for head, lines in waiting.items():
            if lines:
                yield from self._rows(self._kinds[head], lines)
                lines.clear()

    def _rows(self, name: str, lines: list[str]) -> Iterator[Record]:
        try:
            rows = self._readers[name].rows(lines)
        except ValueError:
            if len(lines) <= FEW:
                yield from (record for line in lines for record in self.parsed(line))
                return
            for at in range(0, len(lines), FEW):
                yield from self._rows(name, lines[at : at + FEW])
            return
        yield Events(name, self._names[name], rows)

    def _single(self, line: str) -> Iterator[Record]:
        row = self._row(line)
        if row is None:
            yield from self.parsed(line)
        else:
            yield _CLASSES[self._kinds[head_of(line)]](*row)

    def _row(self, line: str) -> Row | None:
        name = self._kinds.get(head_of(line))
        if name is None:
            return None
        try:
            return self._readers[name].rows([line])[0]
        except ValueError:
            return None

    def parsed(self, line: str) -> Iterator[Record]:
        """Yields a line's records as the parser reads them, whatever the line is."""
        if line.startswith(_MARKS) and (own := _own(line)) is not None:
            yield own
            return
        for record in bpftrace_json.parse([line]):
            yield self._read(record) if isinstance(record, Printed) else record

    def _read(self, printed: Printed) -> Record:
        name, rest = printed.name, printed.rest
        if name == "name" and rest.count("|") == 1:
            rest = rest.replace("|", "|0|")  # streams from before the cgroup was told
        try:
            if name in self._events:
                values = self._events[name].read(rest)
                return Events(name, tuple(values), [tuple(values.values())])
            if name in LINES:
                return _CLASSES[name](**LINES[name].read(rest))
        except ValueError:
            return Unparsed(f"{name}|{rest}")
        return bpftrace_json.Said("printf", f"{name}|{rest}" if rest else name)


def _own(line: str) -> Own | None:
    """None for a line that is cut off (a full disk) or wrong: the parser counts it as unparsed."""
    try:
        told = json.loads(line)
        for span in told.get("spans", ()):
            if type(span["mm"]) is int:  # in schema 1 addresses are numbers
                span["mm"] = hexadecimal(span["mm"])
        kind = told.pop("type")
        if told.keys() - _OWN[kind].__dataclass_fields__.keys():
            return None
        return _adapter(kind).validate_python(told)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


@cache
def _adapter(kind: str) -> TypeAdapter[Own]:
    return TypeAdapter(_OWN[kind])
