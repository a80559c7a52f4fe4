"""The result: what the file holds, gates read and renderers show. Times are integers in ns."""

import json
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any, Literal

SCHEMA: Literal[1] = 1
Outcome = Literal["pass", "fail", "undecided", "inconclusive"]
EndedBy = Literal["duration", "command", "interrupt", "target_exit", "bpftrace_died", "limit"]
Row = dict[str, Any]


@dataclass(frozen=True)
class Tool:
    name: str
    version: str


@dataclass(frozen=True)
class ProfileInfo:
    """`params` as resolved (durations in ns); `sha256` is the rendered script's."""

    name: str
    template: str
    params: dict[str, int]
    filter: dict[str, Any]
    sha256: str


@dataclass(frozen=True)
class TargetInfo:
    kernel: str
    arch: str
    cpus: int
    bpftrace: str
    facts: dict[str, Any]


@dataclass(frozen=True)
class Command:
    """`status` is an exit status, or a signal as its negative number."""

    argv: list[str]
    status: int | None


@dataclass(frozen=True)
class Window:
    """`start` is RFC 3339; `duration_ns` runs from the first to the last recorded moment.

    `cpu_wait_ns` is how long of it some task of the machine waited for a CPU; None: not told.
    """

    start: str
    duration_ns: int
    ended_by: EndedBy
    command: Command | None
    cpu_wait_ns: int | None = None

    @property
    def cpu_wait_share(self) -> Fraction | None:
        """Of the window; None where it is not told."""
        if self.cpu_wait_ns is None or self.duration_ns <= 0:
            return None
        return Fraction(self.cpu_wait_ns, self.duration_ns)


@dataclass(frozen=True)
class OutputData:
    """One output's rows, the worst first. `hidden` ones are material for others."""

    kind: Literal["histogram", "table", "counter", "events"]
    title: str
    unit: str
    keys: list[str]
    rows: list[Row]
    hidden: bool = False


@dataclass(frozen=True)
class Books:
    """Counts that must balance; None is 'not measured'.

    starts + downgrades = acquires + failed + open_waits;
    acquires - releases - downgrades = open_holds. `residue` is what these two leave over.
    `orphan_releases` end holds asked for before the window.
    """

    starts: int | None
    acquires: int | None
    failed: int | None
    releases: int | None
    downgrades: int | None
    open_holds: int | None
    open_waits: int | None
    orphan_releases: int | None
    residue: int | None


@dataclass(frozen=True)
class Loss:
    """Everything known to be missing. `unseen`: some of the window was not looked at."""

    lost_events: int
    map_full: int
    stack_errors: int
    unparsed_lines: int
    probes_expected: int
    probes_attached: int | None
    complete: bool
    unseen: bool = False


@dataclass(frozen=True)
class Verdict:
    """What a gate said. The metric lies in `observed` [low, high], in `unit` (ns for times).

    A null end is open, both are 'not measured'. `reason` tells why it is neither pass nor fail.
    `file`, `line` and `column` are where the gate was written.
    """

    gate: str
    level: Literal["warn", "error"]
    outcome: Outcome
    observed: list[int | None]
    operator: Literal["<", "<=", ">", ">=", "==", "!="]
    limit: int
    unit: str
    samples: int
    min_samples: int
    reason: str = ""
    file: str | None = None
    line: int | None = None
    column: int | None = None


@dataclass(frozen=True)
class Result:
    """`messages` is what bpftrace said and no output holds: print(), errorf(), odd lines, ..."""

    schema: Literal[1]
    tool: Tool
    profile: ProfileInfo
    target: TargetInfo
    window: Window
    outputs: dict[str, OutputData]
    books: Books
    loss: Loss
    verdicts: list[Verdict] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)


def to_json(result: Result) -> str:
    return json.dumps(asdict(result), indent=1) + "\n"


def from_json(text: str) -> Result:
    """Raises pydantic.ValidationError."""
    from pydantic import TypeAdapter  # noqa: PLC0415  (only when a saved result is read)

    return TypeAdapter(Result).validate_json(text)


def json_schema() -> dict[str, Any]:
    from pydantic import TypeAdapter  # noqa: PLC0415

    return TypeAdapter(Result).json_schema()
