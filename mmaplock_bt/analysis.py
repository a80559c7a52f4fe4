"""Records -> Result. The same function serves a live run and a saved raw stream."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from mmaplock_bt import blame, events, symbols
from mmaplock_bt.errors import UsageError
from mmaplock_bt.fields import Field
from mmaplock_bt.result import (
    SCHEMA,
    Books,
    Command,
    Loss,
    OutputData,
    ProfileInfo,
    Result,
    Row,
    TargetInfo,
    Tool,
    Window,
)
from mmaplock_bt.script import SUB_BUCKET_BITS
from mmaplock_bt.template import Output

HEADER, TRAILER = "mmaplock-bt", "mmaplock-bt-end"
Ends = list[int | None]  # a bucket: its inclusive ends (None: open) and, third, its count
QUANTILES = {"p50": (1, 2), "p90": (9, 10), "p99": (99, 100), "p99.9": (999, 1000)}
_TRACER_FRAME = re.compile(
    r"(bpf_prog_|bpf_trace_run|bpf_get_stack|__bpf_trace_|__traceiter_mmap_lock|__mmap_lock_do_trace"
    r"|perf_trace_|trace_call_bpf|perf_call_bpf|trace_event_raw)"
)
_LATE = 8  # flag in a @holding value: asked for before the window
UNPARSED = "not understood: "
MESSAGES = 20  # different ones kept of what bpftrace said beside the outputs


@dataclass
class Collected:
    """What the stream said, before it is put in order."""

    printed: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    maps: dict[str, tuple[tuple[str, int], ...]] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    opened_ns: int | None = None
    closed_ns: int | None = None
    attached: int | None = None
    lost: int = 0
    map_full: int = 0
    stack_errors: int = 0
    unparsed: int = 0
    hists: dict[str, events.HistDump] = field(default_factory=dict)
    stats: dict[str, events.StatsDump] = field(default_factory=dict)
    said: Counter[str] = field(default_factory=Counter)
    trailer: dict[str, Any] = field(default_factory=dict)
    user_frames: dict[tuple[int, str], str] = field(default_factory=dict)


@dataclass(frozen=True)
class Head:
    """First line of a raw stream: all that is needed to analyse the rest."""

    profile: ProfileInfo
    target: TargetInfo
    tool: Tool
    start: str
    argv: list[str] | None
    outputs: dict[str, Output]
    probes: int

    def line(self) -> str:
        declared = {name: output.model_dump() for name, output in self.outputs.items()}
        plain = {name: vars(getattr(self, name)) for name in ("profile", "target", "tool")}
        rest = {"start": self.start, "argv": self.argv, "outputs": declared, "probes": self.probes}
        return json.dumps({"type": HEADER, "schema": SCHEMA, **plain, **rest})

    @classmethod
    def parse(cls, line: str) -> "Head":
        """Raises UsageError when the line heads no raw stream."""
        try:
            head = json.loads(line)
            if head.pop("type") != HEADER or head.pop("schema") != SCHEMA:
                raise ValueError
            declared = head["outputs"].items()
            head["outputs"] = {name: Output.model_validate(item) for name, item in declared}
            for name, kind in (("profile", ProfileInfo), ("target", TargetInfo), ("tool", Tool)):
                head[name] = kind(**head[name])
            return cls(**head)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError("no raw stream of mmaplock-bt: the first line is no header") from error


def trailer(ended_by: str, duration_ns: int, status: int | None) -> str:
    """Last line of a raw stream; `status` is the traced command's."""
    return json.dumps(
        {"type": TRAILER, "ended_by": ended_by, "duration_ns": duration_ns, "status": status}
    )


def analyse(lines: Iterable[str]) -> Result:
    """A whole raw stream, header first -> Result. Raises UsageError when it is not one."""
    stream = iter(lines)
    head = Head.parse(next(stream, ""))
    got = _collect(stream)
    outputs = {name: _output(name, output, got) for name, output in head.outputs.items()}
    for name, output in head.outputs.items():
        if output.behind is not None:
            blame.join(outputs[name].rows, outputs[output.behind].rows)
        if output.of is not None:
            outputs[name].rows.extend(_grouped(output, outputs[output.of].rows))
    ended_by = got.trailer.get("ended_by", "bpftrace_died")
    status = got.trailer.get("status")
    books = _books(got)
    return Result(
        schema=SCHEMA,
        tool=head.tool,
        profile=head.profile,
        target=head.target,
        window=Window(
            head.start,
            _duration(got),
            ended_by,
            None if head.argv is None else Command(head.argv, status),
        ),
        outputs=outputs,
        books=books,
        loss=_loss(got, head.probes, ended_by, books),
        messages=_messages(head.outputs, got),
    )


def _collect(lines: Iterator[str]) -> Collected:
    got = Collected()
    for record in events.parse(_without_own(lines, got)):
        match record:
            case events.Printed(name=name, rest=rest):
                _note_printed(got, name, rest)
            case events.MapDump() | events.HistDump() | events.StatsDump():
                _keep(got, record)
            case events.Attached(probes=probes):
                got.attached = probes
            case events.Lost(events=lost):
                got.lost += lost
            case events.HelperError(helper=helper, retcode=retcode):
                _note_error(got, helper, retcode)
            case events.Said(kind=kind, text=text):
                _note(got, f"{kind}: {text}")
            case events.Unparsed(text=text):
                _note_unparsed(got, text)
    return got


def _keep(got: Collected, dump: events.MapDump | events.HistDump | events.StatsDump) -> None:
    match dump:
        case events.MapDump():
            got.maps[dump.name] = dump.entries
        case events.HistDump():
            got.hists[dump.name] = dump
        case events.StatsDump():
            got.stats[dump.name] = dump


def _note_unparsed(got: Collected, text: str) -> None:
    got.unparsed += 1
    _note(got, UNPARSED + text)


def _forget_unparsed(got: Collected) -> None:
    """Before the window these are compile warnings: 0.24 to 0.26 print them among the JSON."""
    got.unparsed = 0
    got.said = Counter({t: n for t, n in got.said.items() if not t.startswith(UNPARSED)})


def _note(got: Collected, text: str) -> None:
    known = text in got.said or len(got.said) < MESSAGES
    got.said[text[:200] if known else "other messages"] += 1


def _messages(outputs: dict[str, Output], got: Collected) -> list[str]:
    """What bpftrace said beside the outputs, in its order, and maps that no output declares."""
    fills = {name: output.kind for name, output in outputs.items()}
    found = [f"{text} ({n} times)" if n > 1 else text for text, n in got.said.items()]
    for dumps, kind in ((got.hists, "histogram"), (got.stats, "table")):
        stray = sorted(n for n, dump in dumps.items() if dump.entries and fills.get(n) != kind)
        found += [f"@{name}, filled by the template, is no output of kind {kind}" for name in stray]
    return found


def _note_printed(got: Collected, name: str, rest: str) -> None:
    try:
        if name == "name":
            pid, _, text = rest.partition("|")
            got.names[int(pid)] = _text(text)
        elif name == "open":
            got.opened_ns = int(rest)
            _forget_unparsed(got)
        elif name == "close":
            got.closed_ns = int(rest)
        else:
            got.printed[name].append(rest)
    except ValueError:
        _note_unparsed(got, f"{name}|{rest}")


def _without_own(lines: Iterator[str], got: Collected) -> Iterator[str]:
    """bpftrace's lines; the tool's own ones are noted."""
    for line in lines:
        if not _is_own(line, got):
            yield line


def _is_own(line: str, got: Collected) -> bool:
    """A line cut off (a full disk) is left to the parser, which counts it."""
    with suppress(ValueError):
        if line.startswith(f'{{"type": "{TRAILER}"'):
            got.trailer = json.loads(line)
            return True
        if line.startswith(f'{{"type": "{symbols.RECORD}"'):
            told = json.loads(line)
            for address, name in told["frames"].items():
                got.user_frames[told["pid"], address] = name
            return True
    return False


def _note_error(got: Collected, helper: str, retcode: int) -> None:
    if "stack" in helper:
        got.stack_errors += retcode != events.EFAULT  # kernel threads and exit have no user stack
    elif helper.startswith("map_update") or retcode == events.E2BIG:
        got.map_full += 1


def _output(name: str, output: Output, got: Collected) -> OutputData:
    if output.kind == "events":
        rows = [row for rest in got.printed[name] if (row := _event(rest, output, got)) is not None]
    elif output.kind == "histogram":
        rows = _histogram(name, output, got)
    else:
        rows = _table(name, output, got)
    rank = output.rank or ("time_ns" if output.kind == "events" else None)
    if rank == "time_ns":
        rows.sort(key=lambda row: int(row["time_ns"]))
    elif output.kind != "histogram":
        rows.sort(key=lambda row: -int(row.get(rank or "count") or 0))
    keys = [column.name for column in output.columns]
    return OutputData(output.kind, output.title, output.unit, keys, rows, output.hidden)


def _event(rest: str, output: Output, got: Collected) -> Row | None:
    parts = output.cut(rest)
    try:
        values = {c.name: _value(c, parts[c.name]) for c in output.printed} if parts else None
    except (ValueError, IndexError):
        values = None
    if values is None:
        _note_unparsed(got, rest)
        return None
    if "time_ns" in values:
        values["time_ns"] = max(0, values["time_ns"] - (got.opened_ns or 0))
    _name_owner(values, got)
    if "user_stack" in values:
        pid = int(values.get("pid") or 0)
        named = got.user_frames
        values["user_stack"] = [named.get((pid, f), f) for f in values["user_stack"]]
    order = [column.name for column in output.columns]
    return {name: values.get(name) for name in order}


def _name_owner(values: Row, got: Collected) -> None:
    """A torn-down address space has no owner left to name: the exiting process itself is known."""
    if values.get("owner_pid") == 0:
        values["owner_pid"] = None
    if values.get("owner_comm") == "":
        own = values.get("owner_pid") is not None and values.get("owner_pid") == values.get("pid")
        values["owner_comm"] = values.get("comm") if own else got.names.get(values["owner_pid"])


def _histogram(name: str, output: Output, got: Collected) -> list[Row]:
    if name in got.hists:
        return _native_histogram(got.hists[name], output, got)
    buckets: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for key, count in got.maps.get(name, ()):
        group, _, lower = key.rpartition(",")
        try:
            buckets[group][events.integer(lower)] += count
        except ValueError:
            _note_unparsed(got, f"@{name}[{key}]")
    sums, maxima = _by_key(name + "_sum", got), _by_key(name + "_max", got)
    rows = []
    for group in sorted(buckets):
        filled: list[Ends] = [[low, upper(low), n] for low, n in sorted(buckets[group].items())]
        measured = (sums.get(group or "0", 0), maxima.get(group or "0", 0))
        rows.append(_histogram_row(_row_key(group, output, got), filled, *measured))
    return [row for row in rows if row["key"] is not None]


def _native_histogram(dump: events.HistDump, output: Output, got: Collected) -> list[Row]:
    """Of a template that writes hist() or lhist() itself: no sum, no maximum, ends may be open."""
    rows = []
    for group, buckets in sorted(dump.entries, key=lambda entry: entry[0]):
        filled: list[Ends] = [[b.low, b.high, b.count] for b in buckets if b.count]
        if filled:
            rows.append(_histogram_row(_row_key(group, output, got), filled, None, None))
    return [row for row in rows if row["key"] is not None]


def _histogram_row(key: Row | None, buckets: list[Ends], total: int | None, top: int | None) -> Row:
    count = sum(n or 0 for _, _, n in buckets)
    return {
        "key": key,
        "count": count,
        "sum": total,
        "max": top,
        "buckets": buckets,
        "quantiles": {q: quantile(buckets, count, top, *QUANTILES[q]) for q in QUANTILES},
    }


def upper(lower: int) -> int:
    """The inclusive upper end of the bucket that begins at `lower`."""
    return lower + (1 << max(0, lower.bit_length() - 1 - SUB_BUCKET_BITS)) - 1


def quantile(
    buckets: list[Ends], total: int, top: int | None, numerator: int, denominator: int
) -> Ends:
    """The interval [lo, hi] in which the quantile lies: its bucket, cut at the maximum if known.

    None is an open end.
    """
    rank = max(1, -(-total * numerator // denominator))
    seen = 0
    for low, high, count in buckets:
        seen += count or 0
        if seen >= rank:
            cut = high if low is None or high is None or top is None else min(high, max(top, low))
            return [low, cut]
    return [0, 0]


def _table(name: str, output: Output, got: Collected) -> list[Row]:
    sums, maxima = _by_key(name + "_sum", got), _by_key(name + "_max", got)
    rows: list[Row] = []
    for key, count in got.maps.get(name, ()):
        row: Row = {"key": _row_key(key, output, got), "count": count}
        if output.kind == "table":
            row |= {"sum": sums.get(key), "max": maxima.get(key)}
        rows.append(row)
    if output.kind == "table" and name in got.stats:  # stats() knows no maximum
        for key, count, total in got.stats[name].entries:
            rows.append(
                {"key": _row_key(key, output, got), "count": count, "sum": total, "max": None}
            )
    return [row for row in rows if row["key"] is not None]


def _grouped(output: Output, rows: list[Row]) -> list[Row]:
    """Events with equal keys, as rows of a table; largest sum first."""
    names = [column.name for column in output.columns]
    groups: dict[str, Row] = {}
    for row in rows:
        key = {name: row[name] for name in names}
        value = int(row[str(output.value)])
        group = groups.setdefault(json.dumps(key), {"key": key, "count": 0, "sum": 0, "max": 0})
        group["count"] += 1
        group["sum"] += value
        group["max"] = max(group["max"], value)
    return sorted(groups.values(), key=lambda row: -int(row[output.rank or "sum"]))


def _by_key(name: str, got: Collected) -> dict[str, int]:
    return dict(got.maps.get(name, ()))


def _row_key(key: str, output: Output, got: Collected) -> Row | None:
    """None, and noted, for a key that does not hold what the output declares."""
    columns = output.columns
    if not columns:
        return {}
    parts = key.split(",", len(columns) - 1)
    try:
        numbers = [events.integer(part) for part in parts]
        found = [_key_value(c, number) for c, number in zip(columns, numbers, strict=True)]
    except (ValueError, IndexError):
        _note_unparsed(got, f"key [{key}]")
        return None
    values: Row = {}
    for column, value in zip(columns, found, strict=True):
        values[column.name] = value
        if column.name == "owner_pid":
            values["owner_comm"] = got.names.get(values["owner_pid"])
            values["owner_pid"] = values["owner_pid"] or None
        if column.name == "pid":
            values["comm"] = got.names.get(values["pid"])
    return values


def _key_value(column: Field, number: int) -> Any:
    """Up to 0.23 keys of 2^63 and above are printed as negative numbers."""
    if column.type == "enum":
        return column.labels[number]
    return f"0x{number & (2**64 - 1):016x}" if column.type == "hex" else number


def _value(column: Field, text: str) -> Any:
    match column.type:
        case "int":
            return int(text, 0)
        case "hex":
            return f"0x{int(text, 16) & (2**64 - 1):016x}"
        case "enum":
            return column.labels[int(text)]
        case "text":
            return _text(text)
        case "user_stack":
            return [f"0x{address:x}" for address in symbols.addresses(text)]
        case _:
            return frames(text)


def _text(escaped: str) -> str:
    r"""'\x61\x22\x00…' -> 'a"': sixteen bytes up to the NUL. Bytes that are not UTF-8 stay \xNN."""
    raw = bytes.fromhex(escaped.replace("\\x", "")).split(b"\0", 1)[0]
    return raw.decode("utf-8", "backslashreplace")


def frames(text: str) -> list[str]:
    """A stack as printed -> frames, innermost first, without those of the tracing itself."""
    found = [line.strip() for line in text.split("\n")]
    kept = [line for line in found if line]
    while kept and _TRACER_FRAME.match(kept[0]):
        kept.pop(0)
    return kept


def _duration(got: Collected) -> int:
    if got.opened_ns is not None and got.closed_ns is not None:
        return got.closed_ns - got.opened_ns
    return int(got.trailer.get("duration_ns", 0))


def _books(got: Collected) -> Books:
    if not any(name.startswith("book_") for name in got.maps):
        return Books(*[None] * 9)
    count = {
        name: sum(n for _, n in got.maps.get(f"book_{name}", ()))
        for name in ("starts", "acquires", "failed", "releases", "downgrades", "orphan_releases")
    }
    open_waits = len(got.maps.get("waiting", ()))
    open_holds = sum(not value & _LATE for _, value in got.maps.get("holding", ()))
    asked = count["starts"] + count["downgrades"]
    unmet = asked - count["acquires"] - count["failed"] - open_waits
    unended = count["acquires"] - count["releases"] - count["downgrades"] - open_holds
    return Books(
        **count,
        open_holds=open_holds,
        open_waits=open_waits,
        residue=abs(unmet) + abs(unended),
    )


def _loss(got: Collected, probes: int, ended_by: str, books: Books) -> Loss:
    nothing_missing = not (got.lost or got.map_full or got.stack_errors or got.unparsed)
    balanced = books.residue == 0  # a probe may miss events without any counter knowing
    drained = got.closed_ns is not None  # printed after everything in the window
    return Loss(
        lost_events=got.lost,
        map_full=got.map_full,
        stack_errors=got.stack_errors,
        unparsed_lines=got.unparsed,
        probes_expected=probes,
        probes_attached=got.attached,
        complete=nothing_missing
        and balanced
        and drained
        and got.attached == probes
        and ended_by != "bpftrace_died",
    )
