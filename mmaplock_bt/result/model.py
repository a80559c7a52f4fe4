"""The result: what the file holds, gates read and renderers show. Times are integers in ns."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Discriminator, Field, Strict

from mmaplock_bt.result.rows import (
    Count,
    CounterRow,
    Flag,
    HistogramRow,
    Plain,
    Row,
    TableRow,
    TimelineRow,
    Whole,
)
from mmaplock_bt.spec.findings import Harm
from mmaplock_bt.spec.outputs import Outputs, Unit

SCHEMA: Literal[2] = 2
Outcome = Literal["pass", "fail", "undecided", "inconclusive"]
EndedBy = Literal["duration", "command", "interrupt", "target_exit", "bpftrace_died", "limit"]
Role = Literal["waits", "may hold"]
Kind = TypeVar("Kind")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OF_EVERY_LOCK = ("contention_begin", "contention_end", "contended_release")
_Amount = Annotated[int, Strict(), Field(ge=0, lt=2**63)]
_Sample = Annotated[int, Strict(), Field(ge=1, lt=2**63)]
_Values = Plain | list[Plain]


def _says(text: str) -> Any:
    """A field's description in the JSON Schema."""
    return Field(description=text)


@dataclass(frozen=True)
class Tool:
    """The program that wrote the file."""

    name: Annotated[str, _says("mmaplock-bt")]
    version: Annotated[str, _says("its version")]


@dataclass(frozen=True)
class ProfileInfo:
    """The profile that was traced with."""

    name: Annotated[str, _says("the profile's name")]
    template: Annotated[str, _says("the template's name")]
    params: Annotated[dict[str, Whole], _says("as resolved; the unit is in the name (_ns, _bytes)")]
    filter: Annotated[
        dict[str, _Values | dict[str, _Values]],
        _says("what was traced; a side that is empty takes all"),
    ]
    sha256: Annotated[str, _says("of the rendered script")]
    locks: Annotated[
        Literal["all", "contended"], _says("which were followed: all, or those somebody waited for")
    ] = "all"
    sample: Annotated[_Sample, _says("of so many locks one was followed")] = 1
    tree: Annotated[
        Flag | None, _says("whether only a command's processes were traced; null: not told")
    ] = None


@dataclass(frozen=True)
class TargetInfo:
    """The machine that was traced."""

    kernel: Annotated[str, _says("its release, as uname -r prints it")]
    arch: Annotated[str, _says("its architecture, as uname -m prints it")]
    cpus: Annotated[Whole, _says("how many there are")]
    bpftrace: Annotated[str, _says("its version")]
    facts: Annotated[dict[str, _Values], _says("what kernel and bpftrace were found to offer")]

    @property
    def traced_by(self) -> str:
        """What traced: 'bpftrace 0.23.2', or another engine, and why that one."""
        if engine := self.facts.get("engine"):
            return (
                f"engine {engine}, because {self.facts.get('engine_because', 'it was asked for')}"
            )
        return f"bpftrace {self.bpftrace}"


@dataclass(frozen=True)
class Command:
    """The traced command."""

    argv: Annotated[list[str], _says("its words")]
    status: Annotated[Whole | None, _says("exit status, a signal as its negative number")]


@dataclass(frozen=True)
class Window:
    """The window, from the first to the last recorded moment."""

    start: Annotated[str, _says("RFC 3339")]
    duration_ns: Annotated[Whole, _says("its length")]
    ended_by: Annotated[EndedBy, _says("what ended it")]
    command: Annotated[Command | None, _says("the traced command, null where none was given")]
    cpu_wait_ns: Annotated[
        Whole | None, _says("for how long some task waited for a CPU; null: not told")
    ] = None
    failure: Annotated[str | None, _says("the sentence for a bpftrace that died before")] = None

    @property
    def start_ns(self) -> int:
        """When it began, in ns since 1970; 0 where that cannot be read."""
        try:
            start = datetime.fromisoformat(self.start)
        except ValueError:
            return 0
        since = (start if start.tzinfo else start.replace(tzinfo=UTC)) - _EPOCH
        return since // timedelta(microseconds=1) * 1000

    @property
    def cpu_wait_share(self) -> Fraction | None:
        """The part of the window in which some task waited for a CPU; None: not told."""
        if self.cpu_wait_ns is None or self.duration_ns <= 0:
            return None
        return Fraction(self.cpu_wait_ns, self.duration_ns)


@dataclass(frozen=True, kw_only=True)
class _OutputData:
    """An output's rows, the worst first."""

    title: Annotated[str, _says("its heading")]
    unit: Annotated[Unit, _says("of its values, sums and maxima")]
    keys: Annotated[list[str], _says("the columns of its keys, or of its events")]
    hidden: Annotated[Flag, _says("material for other outputs, not shown itself")] = False
    lacks: Annotated[str, _says("what its rows leave out, where they are not made of all")] = ""


@dataclass(frozen=True, kw_only=True)
class HistogramData(_OutputData):
    """A histogram for each key."""

    rows: Annotated[list[HistogramRow], _says("one for each key")]
    kind: Annotated[Literal["histogram"], _says("what its rows look like")] = "histogram"


@dataclass(frozen=True, kw_only=True)
class TableData(_OutputData):
    """Count, sum and maximum for each key."""

    rows: Annotated[list[TableRow], _says("one for each key")]
    kind: Annotated[Literal["table"], _says("what its rows look like")] = "table"


@dataclass(frozen=True, kw_only=True)
class CounterData(_OutputData):
    """A count for each key."""

    rows: Annotated[list[CounterRow], _says("one for each key")]
    kind: Annotated[Literal["counter"], _says("what its rows look like")] = "counter"


@dataclass(frozen=True, kw_only=True)
class EventsData(_OutputData):
    """Single events; of many the first by rank and a sample."""

    rows: Annotated[list[Row], _says("one for each event, or for each that was kept")]
    total: Annotated[
        Whole | None, _says("how many events there were; null: as many as there are rows")
    ] = None
    first: Annotated[Whole, _says("so many rows come first of all; behind them is a sample")] = 0
    counts: Annotated[
        list[CounterRow], _says("all events counted by labels and cause, where not all are rows")
    ] = field(default_factory=list)
    kind: Annotated[Literal["events"], _says("what its rows look like")] = "events"


OutputData = Annotated[HistogramData | TableData | CounterData | EventsData, Discriminator("kind")]


@dataclass(frozen=True)
class Books:
    """Counts that must balance; null is 'not measured'.

    starts + downgrades = acquires + failed + open_waits;
    acquires - releases - downgrades = open_holds. Where no wait is asked for, only the second is
    kept, and only the first where no hold is, or where only contended locks are followed.
    """

    starts: Annotated[Whole | None, _says("threads asked for the lock")]
    acquires: Annotated[Whole | None, _says("they got it; a downgrade counts as one more")]
    failed: Annotated[Whole | None, _says("trylocks that did not get it")]
    releases: Annotated[Whole | None, _says("they let go")]
    downgrades: Annotated[Whole | None, _says("write holds that became read holds")]
    open_holds: Annotated[Whole | None, _says("holds not ended in the window")]
    open_waits: Annotated[Whole | None, _says("waits not ended in the window")]
    orphan_releases: Annotated[Whole | None, _says("ends of holds asked for before the window")]
    residue: Annotated[Whole | None, _says("what the two equations leave over")]
    spinning: Annotated[
        Whole | None, _says("releases behind which a writer spun: its wait is in no sum")
    ] = None

    @property
    def are_kept(self) -> bool:
        """Whether anything was counted: else bpftrace never printed its maps."""
        return self.residue is not None


@dataclass(frozen=True)
class Loss:
    """Everything that is known to be missing."""

    lost_events: Annotated[
        Count, _says("lines that the script printed and that did not come, and what bpftrace lost")
    ]
    map_full: Annotated[Count, _says("updates that a map had no room for")]
    stack_errors: Annotated[Count, _says("stacks that could not be kept")]
    unparsed_lines: Annotated[Count, _says("what could not be read")]
    probes_expected: Annotated[Count, _says("probes of the script")]
    probes_attached: Annotated[Count | None, _says("of them, live")]
    complete: Annotated[Flag, _says("whether nothing is missing and the books balance")]
    unseen: Annotated[Flag, _says("some of the window was not looked at")] = False
    missed_events: Annotated[
        Count | None, _says("events at which no program ran; null: the kernel does not count them")
    ] = None
    lost_lines: Annotated[
        dict[str, Count] | None,
        _says("printed lines that did not come, by output or kind of line; null: not known"),
    ] = None
    dropped_lines: Annotated[
        Count, _says("lines among the lost that did come, but faster than they were read")
    ] = 0


@dataclass(frozen=True)
class ProbeCost:
    """What a probe's program cost; see `Cost.looked_ns`."""

    probe: Annotated[str, _says("as in the script")]
    runs: Annotated[_Amount | None, _says("how often it ran")]
    run_ns: Annotated[_Amount | None, _says("for how long in all, its clock included")]
    missed: Annotated[
        _Amount | None, _says("events at which it did not run: another program ran on that CPU")
    ]


@dataclass(frozen=True)
class Step:
    """From some moment on one lock in `sample` was followed."""

    since_ns: Annotated[_Amount, _says("after the window's opening")]
    sample: Annotated[_Sample, _says("1: every lock")]
    ppm: Annotated[_Amount | None, _says("what was seen before, as in cost.ppm")]


@dataclass(frozen=True)
class Cost:
    """What the window cost in CPU time. What may not be measured is null, and `note` says why.

    The kernel's statistics on programs cost something themselves: they are on for a part of the
    window, and runs and their times are estimates for the whole of it.
    """

    duration_ns: Annotated[_Amount, _says("the time that all of this is about, about the window")]
    looked_ns: Annotated[_Amount, _says("of it, with the statistics on; runs and times are scaled")]
    ppm: Annotated[_Amount | None, _says("all of this in millionths of the CPU time of all CPUs")]
    events_per_s: Annotated[_Amount | None, _says("runs of all probes' programs a second")]
    entering_ns: Annotated[_Amount | None, _says("an estimate of what entering the programs took")]
    bpftrace_ns: Annotated[_Amount | None, _says("bpftrace's CPU time")]
    own_ns: Annotated[_Amount, _says("this tool's CPU time")]
    starting_ns: Annotated[
        _Amount | None, _says("bpftrace's CPU time before: compiling, attaching")
    ]
    probes: Annotated[list[ProbeCost], _says("one for each probe of the script")]
    note: Annotated[str, _says("why something is not told")] = ""
    limit_ppm: Annotated[_Amount | None, _says("what it was to keep below, null: anything")] = None
    steps: Annotated[list[Step], _says("what was done for that")] = field(default_factory=list)

    @property
    def has_changed(self) -> bool:
        """Whether the window had fewer locks followed at times than at others."""
        return len({step.sample for step in self.steps}) > 1

    @property
    def program_ns(self) -> int | None:
        """For how long programs ran."""
        times = [one.run_ns for one in self.probes if one.run_ns is not None]
        return sum(times) if times else None

    @property
    def missed(self) -> int | None:
        """How many events no program saw; None: not counted.

        Without those of every lock: a program that waits for a map's own spinlock meets them, and
        cannot run inside itself. The books tell whether one was of mmap_lock.
        """
        ours = [one for one in self.probes if one.probe.rpartition(":")[2] not in _OF_EVERY_LOCK]
        counts = [one.missed for one in ours if one.missed is not None]
        return sum(counts) if counts else None


@dataclass(frozen=True)
class Verdict:
    """A gate's outcome, with what it rests on."""

    gate: Annotated[str, _says("as written, without its level")]
    level: Annotated[Literal["warn", "error"], _says("whether it may fail a run")]
    outcome: Annotated[Outcome, _says("what it said")]
    observed: Annotated[
        list[Whole | None],
        Field(min_length=2, max_length=2),
        _says("[low, high] between which the metric lies; null is open, both 'not measured'"),
    ]
    operator: Annotated[Literal["<", "<=", ">", ">=", "==", "!="], _says("of the condition")]
    limit: Annotated[Whole, _says("in the unit")]
    unit: Annotated[str, _says("ns for times")]
    samples: Annotated[Whole, _says("on how many it rests")]
    min_samples: Annotated[Whole, _says("on fewer it says nothing")]
    reason: Annotated[str, _says("why it is neither pass nor fail")] = ""
    file: Annotated[str | None, _says("where it was written")] = None
    line: Annotated[Whole | None, _says("from 1")] = None
    column: Annotated[Whole | None, _says("from 1")] = None


Sure = Literal["exact", "estimated", "at least"]


@dataclass(frozen=True)
class Finding:
    """What a window shows, in words: who was harmed, by whom, why, how much. The worst is first."""

    harm: Annotated[Harm, _says("how bad: others waited, spans had not ended, it was merely held")]
    sentence: Annotated[str, _says("all of it in words")]
    victim: Annotated[str, _says("who waited, empty where nobody is named")]
    culprit: Annotated[str, _says("who held the lock, empty where nobody is named")]
    cause: Annotated[str, _says("why, as in causes; empty where no stack tells it")]
    total_ns: Annotated[Whole, _says("how much in all")]
    longest_ns: Annotated[Whole | None, _says("the longest one; null: not kept")]
    count: Annotated[Whole, _says("how often")]
    period_ns: Annotated[Whole | None, _says("its rhythm, null where it has none")]
    share_permille: Annotated[Whole, _says("the total, as a part of the window's length")]
    sure: Annotated[Sure, _says("what the figures are")]
    remedy: Annotated[str, _says("what others did about it; empty where no source tells")] = ""
    next: Annotated[
        list[str], _says("the command to run next: its words after the program's name")
    ] = field(default_factory=list)


@dataclass(frozen=True)
class Timeline:
    """Histograms over time. Counts of steps add up to those of the outputs."""

    ends_ns: Annotated[
        list[_Amount], _says("when each step ends, since the window began; one begins with 0")
    ]
    outputs: Annotated[
        dict[str, list[TimelineRow]], _says("for each histogram a row for each mode")
    ]


@dataclass(frozen=True)
class Looked:
    """A sleeping thread as a look at /proc found it when the window ended; no measurement."""

    tid: Annotated[Whole, _says("the thread")]
    pid: Annotated[Whole, _says("its process")]
    comm: Annotated[str, _says("its name")]
    role: Annotated[Role, _says("what its stack says: likely, not certain")]
    cause: Annotated[str, _says("what it does, told from its kernel stack")]
    kernel_stack: Annotated[list[str], _says("its kernel frames, innermost first")]


@dataclass(frozen=True)
class Result:
    """All that is known of one window."""

    schema: Annotated[Literal[2], _says("the version of this format")]
    tool: Annotated[Tool, _says("what wrote the file")]
    profile: Annotated[ProfileInfo, _says("what was asked")]
    target: Annotated[TargetInfo, _says("where it was traced")]
    window: Annotated[Window, _says("when")]
    declarations: Annotated[Outputs, _says("what each output's rows hold, as in the template")]
    outputs: Annotated[dict[str, OutputData], _says("the rows of each output")]
    books: Annotated[Books, _says("counts that must balance")]
    loss: Annotated[Loss, _says("what is known to be missing")]
    verdicts: Annotated[list[Verdict], _says("what the gates said")] = field(default_factory=list)
    messages: Annotated[
        list[str], _says("what bpftrace said and no output holds: print(), errorf(), odd lines")
    ] = field(default_factory=list)
    cost: Annotated[Cost | None, _says("what tracing cost; null: not told")] = None
    findings: Annotated[
        list[Finding] | None,
        _says("what it shows, the worst first; null: the profile has no rules"),
    ] = None
    timeline: Annotated[
        Timeline | None, _says("how its histograms grew; null: no histogram, or a short window")
    ] = None
    looks: Annotated[
        list[Looked], _says("threads that slept for an mmap_lock, or with it, when it ended")
    ] = field(default_factory=list)

    def events(self, name: str) -> list[Row]:
        """Returns the rows of an events output. Raises KeyError or TypeError for another."""
        return _of_kind(self.outputs[name], EventsData).rows

    def table(self, name: str) -> list[TableRow]:
        """Returns the rows of a table. Raises KeyError or TypeError for another output."""
        return _of_kind(self.outputs[name], TableData).rows

    def histogram(self, name: str) -> list[HistogramRow]:
        """Returns the rows of a histogram. Raises KeyError or TypeError for another output."""
        return _of_kind(self.outputs[name], HistogramData).rows


def _of_kind(data: OutputData, kind: type[Kind]) -> Kind:
    if not isinstance(data, kind):
        raise TypeError(f"an output of kind {data.kind}")
    return data
