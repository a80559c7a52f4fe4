"""What tests make: results, rows, streams of one output. story.py makes whole streams."""

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from pydantic import TypeAdapter

from mmaplock_bt import renderers
from mmaplock_bt.analysis import analyse, rows
from mmaplock_bt.judging.series import Series
from mmaplock_bt.result.buckets import SUB_BUCKET_BITS, histogram_row, upper
from mmaplock_bt.result.model import (
    Books,
    Command,
    Cost,
    CounterData,
    EventsData,
    HistogramData,
    Loss,
    OutputData,
    ProbeCost,
    ProfileInfo,
    Result,
    Step,
    TableData,
    TargetInfo,
    Tool,
    Verdict,
    Window,
)
from mmaplock_bt.result.rows import Bucket, HistogramRow
from mmaplock_bt.spec import gates, profile
from mmaplock_bt.spec.outputs import Output, Outputs
from mmaplock_bt.stream.recording import Head
from mmaplock_bt.stream.records import Trailer

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
DATA = TESTS / "data"
DIALECTS = DATA / "dialects"
STREAM = DATA / "bpftrace-0.27.1_linux-7.2_munmaps.ndjson"
STREAMS = sorted(DATA.glob("*.ndjson"))


def schema_of(stream: Path) -> int:
    """The schema that a raw stream's first line names."""
    with stream.open(encoding="utf-8") as lines:
        return int(json.loads(next(lines))["schema"])


START = "2026-01-01T00:00:00+00:00"

# What names may hold: a terminal's colours, rich's markup, what is special to a format.
HOSTILE = 'a",b\n\x1b[31m[bold]'
CONTROLS = "".join(map(chr, range(0x20))) + "\x7f\x85\u2028\ud800\udcff\ufffe\uffff"
NASTY = (
    f"{HOSTILE}{CONTROLS}]]> </error> <b>&amp;| ||\\|\\\\|`` ```` *_~[x](http://y) ![z](w) @all #1 "
    "https://a.b www.a.b a@b.cd %0A::error::x, y=z: :smile: '\" $(x) é\u00a0"
)

LONG_HOLDS: Outputs = profile.load("long-holds").template.declaration.outputs

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3)
    ),
    max_leaves=8,
)
KINDS = st.sampled_from(["map", "hist", "stats", "printf", "value", "lost_events", "errorf",
                         "helper_error", "attached_probes", "tseries", "?"])  # fmt: skip

# An output as tests write it: (its declaration as plain data, its rows).
Made = dict[str, tuple[dict[str, Any], list[Any]]]
_DATA = {"histogram": HistogramData, "table": TableData, "counter": CounterData,
         "events": EventsData}  # fmt: skip


def declared(**plain: Any) -> Outputs:
    """Declarations from plain data, by name; a title is made up."""
    titled = {name: {"title": name.upper()} | one for name, one in plain.items()}
    return TypeAdapter(Outputs).validate_python(titled)


def one_output(**plain: Any) -> Output:
    return declared(x=plain)["x"]


def data(output: Output, found: list[Any]) -> OutputData:
    """What an analysis makes of these rows; events get every column."""
    if output.kind == "events":
        found = [rows.with_columns(row, output) for row in found]
    keys = [column.name for column in output.columns]
    return _DATA[output.kind](
        title=output.title, unit=output.unit, keys=keys, rows=found, hidden=output.hidden
    )


def made(outputs: Made) -> Result:
    """A complete result of a machine with hostile names."""
    known = declared(**{name: plain for name, (plain, _) in outputs.items()})
    return Result(
        schema=2,
        tool=Tool("mmaplock-bt", "0"),
        profile=ProfileInfo("p", "p", {}, {}, "0"),
        target=TargetInfo(HOSTILE, "x", 1, HOSTILE, {}),
        window=Window(START, 1, "duration", None),
        declarations=known,
        outputs={name: data(known[name], found) for name, (_, found) in outputs.items()},
        books=Books(*[0] * 9),
        loss=Loss(0, 0, 0, 0, 1, 1, True),
    )


def bucketed(values: list[int]) -> list[Bucket]:
    """What the script's bucket arithmetic yields for these values."""
    counts: dict[int, int] = {}
    for value in values:
        shift = max(0, value.bit_length() - 1 - SUB_BUCKET_BITS)
        low = value >> shift << shift
        counts[low] = counts.get(low, 0) + 1
    return [Bucket(low, upper(low), n) for low, n in sorted(counts.items())]


def histogram_of(key: dict[str, Any], values: list[int]) -> HistogramRow:
    return histogram_row(key, bucketed(values), sum(values), max(values, default=0))


ROW = {"time_ns": 1, "hold_ns": 2, "mode": "read", "tid": 1, "pid": 1, "comm": HOSTILE,
       "owner_pid": None, "owner_comm": None, "owner_kind": "teardown", "mm": "0x1",
       "kernel_stack": [HOSTILE * 30], "user_stack": [HOSTILE], "own_ns": 211}  # fmt: skip
KEY = {"mode": "read", "owner_pid": 1, "owner_comm": HOSTILE, "cgroup": HOSTILE * 9}
HIST = histogram_row(KEY, [Bucket(0, 0, 1), Bucket(2, 2, 1)], 3, 2)
SPAN = ROW | {"age_ns": 5, "state": "hold begun before the window", "ended": "no",
              "cause": HOSTILE, "cgroup": HOSTILE * 9, "actor_kind": "kernel",
              "current_stack": [HOSTILE], "kernel_stack": None, "reason": HOSTILE,
              "faulting_tid": 3, "faulting_comm": HOSTILE,
              "faulting_stack": [HOSTILE]}  # fmt: skip
WAIT = {"mode": "read", "tid": 1, "pid": 1, "comm": HOSTILE, "wait_ns": 3}
CONVOY = ROW | {"writer_tid": 1, "writer_pid": 1, "writer_comm": HOSTILE, "writer_wait_ns": 4,
                "readers": 2, "queued": [WAIT]}  # fmt: skip
OVERLAP = {"mode": "read", "tid": 1, "pid": 1, "comm": HOSTILE, "hold_ns": 2, "cause": HOSTILE,
           "kernel_stack": [HOSTILE * 30], "overlap_ns": 3}  # fmt: skip
BEHIND = ROW | {"wait_ns": 9, "label": "one long hold", "behind": [OVERLAP]}
BLAMED = {"key": {"pid": None, "comm": None, "cause": HOSTILE, "kernel_stack": [HOSTILE]},
          "count": 1, "sum": 5, "max": 5, "victims": 2, "read_ns": 5, "cgroup": None,
          "period_ns": 30, "period_error_ns": 1}  # fmt: skip
SHARE = {"key": {"mode": "read", "cgroup": HOSTILE * 9}, "count": 1, "sum": None, "max": None,
         "count_permille": 3, "sum_permille": None}  # fmt: skip
OWN = {"name": "own_ns", "expression": "$own", "unit": "ns"}


def _fields(*rows: dict[str, Any]) -> list[Any]:
    """Every column that one of the rows has; the template's own one by its declaration."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [OWN if name == "own_ns" else name for name in names]


FULL: Made = {
    "e": ({"kind": "events", "unit": "ns", "fields": _fields(ROW)}, [ROW] * 12),
    "t": ({"kind": "table", "unit": "ns", "keys": ["mode", "owner_pid"]},
          [{"key": KEY, "count": 1, "sum": 1, "max": 1}]),
    "c": ({"kind": "counter"}, [{"key": {}, "count": 1}]),
    "s": ({"kind": "events", "unit": "ns", "fields": _fields(SPAN, CONVOY, BEHIND)},
          [SPAN, CONVOY, BEHIND]),
    "n": ({"kind": "events", "fields": ["run", "why"],
           "advice": [{"when": "t.count > 0", "run": "blame", "why": "x"}]},
          [{"run": "blame", "why": HOSTILE}]),
    "b": ({"kind": "table", "unit": "ns", "keys": list(BLAMED["key"]), "of": "e",
           "value": "hold_ns", "distinct": {"victims": "tid"}, "sums": ["read_ns"],
           "worst": ["cgroup"], "period": True}, [BLAMED]),
    "p": ({"kind": "table", "unit": "ns", "keys": ["mode", "cgroup"], "share_of": "t"}, [SHARE]),
    "h": ({"kind": "histogram", "unit": "ns", "keys": ["mode", "owner_pid"]}, [HIST]),
}  # fmt: skip
EMPTY: Made = {name: (plain, []) for name, (plain, _) in FULL.items()}
SAID = tuple(
    Verdict(f"x{{comm={HOSTILE}}}.max < 5ms", level, outcome, [1, None], "<", 5_000_000, "ns", 3, 1,
            HOSTILE, HOSTILE, 7, 3)
    for level in ("warn", "error")
    for outcome in ("pass", "fail", "undecided", "inconclusive")
)  # fmt: skip


def said(outcome: str = "fail", level: str = "error", **changes: object) -> Verdict:
    plain = Verdict(
        gate="hold.p99 < 5ms", level="error", outcome="fail", observed=[6_000_000, 7_000_000],
        operator="<", limit=5_000_000, unit="ns", samples=1234, min_samples=1,
        file="budget.yaml", line=7, column=3,
    )  # fmt: skip
    return replace(plain, **{"outcome": outcome, "level": level} | changes)


def gate(text: str, **more: Any) -> gates.Gate:
    """A gate on long-holds' outputs."""
    return gates.parse(text, LONG_HOLDS, **more)


def run(*values: int, acquires: int = 1000, events: int = 0, **loss: object) -> Result:
    """A result with these write holds (ns) in a window of 2 s, and so many long holds."""
    found = [histogram_of({"mode": "write"}, list(values))] if values else []
    long = [{"hold_ns": 7, "cause": "x"}] * events
    base = made(
        {
            "hold": ({"kind": "histogram", "unit": "ns", "keys": ["mode"]}, found),
            "long_holds": ({"kind": "events", "unit": "ns", "fields": ["hold_ns", "cause"]}, long),
        }
    )
    return replace(
        base,
        window=replace(base.window, duration_ns=2 * 10**9),
        books=replace(base.books, starts=acquires, acquires=acquires),
        loss=replace(base.loss, **({"complete": not loss} | loss)),
    )


# 31 ms in programs, 6 ms for entering them, 40 and 60 ms in processes: of 3 s on 2 CPUs 2.28 %.
COST = Cost(
    duration_ns=3 * 10**9, looked_ns=3 * 10**9, ppm=22_834, events_per_s=40_001,
    entering_ns=120_002 * 50, bpftrace_ns=40 * 10**6, own_ns=60 * 10**6, starting_ns=5 * 10**8,
    probes=[
        ProbeCost("tracepoint:mmap_lock:mmap_lock_released", 80_003, 20 * 10**6, 0),
        ProbeCost("tracepoint:mmap_lock:mmap_lock_start_locking", 39_997, 11 * 10**6, 0),
        ProbeCost("tracepoint:task:task_rename", 2, 1_000, 0),
    ],
)  # fmt: skip


def costs() -> st.SearchStrategy[Cost]:
    """Any cost that a file may hold."""
    amount = st.integers(0, 2**63 - 1)
    some = st.none() | amount
    probe = st.builds(ProbeCost, st.text() | st.just(HOSTILE), some, some, some)
    return st.builds(
        Cost, amount, amount, some, some, some, some, amount, some, st.lists(probe, max_size=3),
        st.text() | st.just(HOSTILE), some,
        st.lists(st.builds(Step, amount, st.integers(1, 2**63 - 1), some), max_size=6),
    )  # fmt: skip


def noisy(seed: int, factor: float = 1.0, runs: int = 10, noise: float = 0.15) -> list[Result]:
    """Runs of 100 holds of about 1 ms, each run with a luck of its own."""
    luck = random.Random(seed)
    runs_made = []
    for _ in range(runs):
        centre = 1e6 * factor * luck.lognormvariate(0, noise)
        runs_made.append(run(*(int(centre * luck.lognormvariate(0, 0.1)) for _ in range(100))))
    return runs_made


def captured(path: Path = STREAM) -> Result:
    """Of the usual stream: a write hold's p99 lies in 2,359,296 ns to 2,470,071 ns, of 182."""
    return analyse.analyse_lines(path.read_text().split("\n"))


def with_rows(result: Result, name: str, found: list[Any]) -> Result:
    changed = replace(result.outputs[name], rows=found)
    return replace(result, outputs=result.outputs | {name: changed})


def scaled(result: Result, times: int) -> Result:
    """Another run whose holds took so many times as long."""
    found = [
        histogram_row(
            row["key"],
            [Bucket(low * times, high * times, n) for low, high, n in row["buckets"]],
            row["sum"] * times,
            row["max"] * times,
        )
        for row in result.histogram("hold")
    ]
    return with_rows(result, "hold", found)


def nasty() -> Result:
    """Everything that a result can hold from outside, and a measure under such a name."""
    row = {"key": {"cause": NASTY}, "count": 1, "sum": 2, "max": 2}
    plain = {"kind": "table", "title": "T", "unit": "ns", "keys": ["cause"], "of": "e",
             "value": "hold_ns"}  # fmt: skip
    base = made({"t": (plain, [row])})
    return replace(
        base,
        profile=replace(base.profile, name=NASTY),
        target=replace(base.target, kernel=NASTY, bpftrace=NASTY),
        window=replace(base.window, start=NASTY, command=Command([NASTY], 1)),
    )


def head(outputs: Outputs, *, probes: int = 1) -> Head:
    return Head(
        ProfileInfo("p", "p", {}, {}, "0"), TargetInfo("6", "x", 1, "0", {}), Tool("t", "0"),
        START, None, outputs, probes,
    )  # fmt: skip


def analysed(output: dict[str, Any], *lines: str) -> Result:
    """The result of one declared output "x" and these lines of bpftrace's."""
    first = head(declared(x={"title": "X"} | output)).line()
    return analyse.analyse_lines([first, *lines, Trailer("duration", 1).line()])


def printed(text: str) -> str:
    """A line of bpftrace's for a printf."""
    return json.dumps({"type": "printf", "data": f"{text}\n"})


def map_line(name: str, entries: dict[str, Any]) -> str:
    """A line of bpftrace's for a map."""
    return json.dumps({"type": "map", "data": {f"@{name}": entries}})


def escaped(raw: bytes) -> str:
    r"""Sixteen bytes as %rx prints them: \x61\x00..."""
    return "".join(f"\\x{byte:02x}" for byte in raw[:16].ljust(16, b"\0"))


def stack_text(frames: Any) -> str:
    """A stack as %s prints it."""
    return "".join(f"\n        {frame}" for frame in frames) + "\n"


def shown_as_table(result: Result, detail: int = 2) -> str:
    """All of it; `detail` 0 is the first screen."""
    return renderers.named("table")(Series((result,)), detail=detail)
