"""One small known story, told as the raw stream of any shipped profile.

An agent (pid 20) read-holds the address space of `victim` (pid 10) from 1 ms to 21 ms. A writer of
the victim's (tid 11) queues at 3 ms and waits for 18 ms, three readers (tids 12 to 14) queue behind
it. Eighteen others hold and wait, short spans fill up to what the books say, some are still open.

What a profile prints of it follows from its template: the declaration's columns, and the `record`
calls that say whether an output is of holds or of waits.
"""

import json
import re
from collections import defaultdict
from dataclasses import dataclass, replace

from mmaplock_bt.analysis import analyse
from mmaplock_bt.result.model import ProfileInfo, TargetInfo, Tool
from mmaplock_bt.spec import profile
from mmaplock_bt.spec.columns import ACTOR_KINDS, FAULTS, MODES, OWNER_KINDS
from mmaplock_bt.spec.outputs import OpenSpans
from mmaplock_bt.stream import records
from mmaplock_bt.stream.recording import Head
from mmaplock_bt.stream.records import CgroupPaths, Look, Trailer, UserFrames
from tests import builders
from tests.builders import printed, stack_text

NAMES = profile.names()
FLAVOURS = ("empty", "full", "lossy", "hostile")
MS = 1_000_000
OPENED, WINDOW = 3_600_000 * MS, 200 * MS
CLOSED = OPENED + WINDOW
PROBES = 7
LONG_NS = 100_000  # holds and waits from here on are events
MET_NS = 10_000  # as overview has it where every lock is followed
# Primes, all different, with the open ones: 191 + 11 = 193 + 7 + 2 and 193 - 179 - 11 = 3.
BOOKS = {"starts": 191, "acquires": 193, "failed": 7, "releases": 179, "downgrades": 11,
         "orphan_releases": 13}  # fmt: skip
OPEN_HOLDS, OPEN_WAITS = 3, 2
PATHS = {101: "/service/victim", 102: "/a/very/long/path/to/the/cgroup/of/a/worker"}

# What a hostile one calls itself: a terminal's colours, rich's markup, a forged line.
HOSTILE_COMMS = (b'a",b\n\x1b[31m[bold]', b"\xff\xfe\nloss:  none")
FORGED = "forged"
HOSTILE_TEXT = f"[bold]\x1b[31m\n{FORGED}"
HOSTILE_FRAME = "evil\x1b[31m[bold]+1"


@dataclass(frozen=True)
class Actor:
    """Who takes a lock."""

    pid: int
    tid: int
    comm: str
    actor_kind: str = "process"


@dataclass(frozen=True)
class Space:
    """Whose lock it is."""

    mm: int
    owner_pid: int
    owner_comm: str
    owner_kind: str = "process"
    cgroup: int = 0


@dataclass(frozen=True)
class Told:
    """What a stream tells of."""

    holds: list
    waits: list
    is_hostile: bool = False


SMAPS = ("smap_gather_stats+60", "show_smaps_rollup+420", "seq_read_iter+290", "vfs_read+190")
FAULT = ("lock_mm_and_find_vma+80", "do_user_addr_fault+330", "exc_page_fault+120")
MMAP = ("vm_mmap_pgoff+200", "ksys_mmap_pgoff+370", "do_syscall_64+113")
FORK = ("dup_mmap+1282", "copy_process+4359", "kernel_clone+148")
EXEC = ("setup_arg_pages+400", "load_elf_binary+900", "do_execveat_common+500")
EXIT = ("exit_mmap+678", "__mmput+65", "do_exit+647")
ODD = ("odd_function+1", "odd_caller+2", "its_caller+3")

AGENT = Actor(20, 20, "agent")
WRITER = Actor(10, 11, "victim")
READERS = [Actor(10, tid, "victim") for tid in (12, 13, 14)]
KERNEL = Actor(50, 50, "kworker/u8:3", "kernel")
VICTIM = Space(0xFFFF888100000A00, 10, "victim", cgroup=101)
STUCK = Space(0xFFFF888100000B00, 70, "stuck", cgroup=102)
OLD = Space(0xFFFF888100000C00, 91, "old")


def span(what, actor, space, mode, *, end_ms, ns, stack=FAULT):
    """A hold or a wait that ended, with all that any profile may print of it."""
    is_foreign = space.owner_kind == "process" and space.owner_pid != actor.pid
    return {
        **vars(actor), **vars(space), f"{what}_ns": ns, "mode": mode, "kernel_stack": stack,
        "fault": FAULTS[ns % 2],
        "time_ns": OPENED + int(end_ms * MS), "user_stack": ("0x7f0000001000", "0x7f0000002000"),
        "is_foreign": int(is_foreign), "stands_for": 1 if ns >= MS else 97,
        "overtakes": 3, "writers_before": 1, "write_hold_ns": 211,
        "watched": 1, "preempted_ns": ns // 19, "asleep_ns": ns // 23,
        "contended": 1, "cpu_wait_ns": ns // 13, "short_ns": ns // 17,
    }  # fmt: skip


def others(what):
    """Eleven processes on their own memory, and the odd kinds of actors and owners."""
    found = []
    for turn in range(11):
        actor = Actor(30 + turn, 30 + turn, f"worker-{turn}")
        own = Space(0xFFFF888100001000 + 0x100 * turn, actor.pid, actor.comm, cgroup=102)
        ns = (2 + turn) * MS + 7919 * turn
        mode, end_ms = MODES[turn % 2], 30 + 7 * turn
        found.append(span(what, actor, own, mode, end_ms=end_ms, ns=ns, stack=MMAP))
    for turn, (space, stack) in enumerate(odd_spaces()):
        ns = 300_000 + 1009 * turn
        found.append(span(what, WRITER, space, "write", end_ms=110 + turn, ns=ns, stack=stack))
    return [*found, span(what, KERNEL, VICTIM, "read", end_ms=120, ns=700_001, stack=ODD)]


def odd_spaces():
    """The kinds of owners that are no process; a torn-down one may be the actor itself."""
    own = [("fork_child", FORK), ("exec", EXEC), ("teardown", EXIT)]
    no_ones = [("teardown", EXIT), ("kernel", ODD), ("unknown", ODD)]
    for turn, (kind, stack) in enumerate(own):
        yield Space(0xFFFF888100003000 + 0x100 * turn, 10, "victim", kind), stack
    for turn, (kind, stack) in enumerate(no_ones):
        yield Space(0xFFFF888100004000 + 0x100 * turn, 0, "", kind), stack


def short(what, count):
    """Spans of the victim's own that are too short to be events: 1, 2, 3, ... times 137 ns."""
    return [
        span(what, WRITER, VICTIM, MODES[n % 2], end_ms=121 + n / 10, ns=137 * n, stack=MMAP)
        for n in range(1, count + 1)
    ]


def holds():
    """As many as releases and downgrades end."""
    found = [
        span("hold", AGENT, VICTIM, "read", end_ms=21, ns=20 * MS, stack=SMAPS),
        span("hold", AGENT, STUCK, "read", end_ms=60, ns=17_300_000, stack=SMAPS),
        span("hold", WRITER, VICTIM, "write", end_ms=22, ns=MS, stack=MMAP),
        *[span("hold", one, VICTIM, "read", end_ms=23, ns=MS - 9973 * one.tid) for one in READERS],
        *others("hold"),
    ]
    return found + short("hold", BOOKS["releases"] + BOOKS["downgrades"] - len(found))


def waits(writer_ms=18):
    """As many as acquisitions that are no downgrade end."""
    writer_ns = writer_ms * MS
    found = [
        span("wait", WRITER, VICTIM, "write", end_ms=3 + writer_ms, ns=writer_ns, stack=MMAP),
        *[span("wait", reader, VICTIM, "read", end_ms=22, ns=(17 - 2 * n) * MS)
          for n, reader in enumerate(READERS)],
        *others("wait"),
    ]  # fmt: skip
    return found + short("wait", BOOKS["acquires"] - BOOKS["downgrades"] - len(found))


def told(flavour):
    return Told([], []) if flavour == "empty" else Told(holds(), waits(), flavour == "hostile")


# What a template's conditions leave of the holds or waits that an output would get.
def _is_foreign(row):
    return row["is_foreign"]


def _is_long(row):
    return row.get("wait_ns", 0) >= LONG_NS


def _met_somebody(row):
    return row.get("wait_ns", 0) >= MET_NS


def _is_short(row):
    return _met_somebody(row) and not _is_long(row)


def _writes(row):
    return row["mode"] == "write"


PICKED = {
    ("foreign-holds", "foreign_holds"): _is_foreign,
    ("foreign-holds", "pairs"): _is_foreign,
    ("overview", "contended"): _met_somebody,
    ("overview", "short"): _is_short,
    ("blame", "waited"): _is_long,
    ("blame", "short_waits"): _is_short,
    ("convoys", "short_waits"): _is_short,
    ("stuck-locks", "short_waits"): _is_short,
    ("writer-starvation", "starved_writers"): _writes,
}


def _open_span(state, tid, space, mode, since_ms):
    since_ns = OPENED + since_ms * MS
    return records.Span(state, tid, records.hexadecimal(space.mm), mode, since_ns)


# Still open at the end: the agent, a writer behind it, a reader behind that; two more readers.
OPEN = [
    _open_span("hold", 20, STUCK, "read", 140),
    _open_span("hold", 71, VICTIM, "read", 150),
    _open_span("hold", 72, VICTIM, "read", 160),
    _open_span("wait", 70, STUCK, "write", 150),
    _open_span("wait", 73, STUCK, "read", 170),
]
LATE_SPACES = [Space(0xFFFF888100005000 + 0x100 * n, 80 + n, f"late-{n}") for n in range(5)]
LATE = [
    _open_span("hold", space.owner_pid, space, "write", 2 + n)
    for n, space in enumerate(LATE_SPACES)
]
# Seen at 100 ms, gone at the end.
BEFORE = "hold begun before the window"
GONE = [
    _open_span("wait", 74, OLD, "write", 20),
    replace(_open_span(BEFORE, 90, OLD, "write", 20), pid=90, comm="early"),
]
# Of whom the script said who they are: of the last late holder it did not.
SPACES = [VICTIM, STUCK, OLD, *LATE_SPACES[:-1]]
THREADS = [
    *(AGENT, Actor(71, 71, "probe"), Actor(72, 72, "khugepaged", "kernel")),
    *(Actor(70, 70, "stuck"), Actor(70, 73, "stuck"), Actor(91, 74, "old")),
    *(Actor(space.owner_pid, space.owner_pid, space.owner_comm) for space in LATE_SPACES[:-1]),
]
QUEUEING = ("rwsem_down_write_slowpath+600", "down_write_killable+90", *MMAP)


def lines(name, flavour="full", story=None):
    """The whole raw stream of a profile, header first."""
    chosen = profile.load(name)
    story = story or told(flavour)
    body = [] if flavour == "empty" else _seen(chosen, story)
    maps = _maps(chosen, story, flavour)
    attached = PROBES - (flavour == "lossy")
    return [
        header(chosen),
        _line("attached_probes", {"probes": attached}),
        printed(f"open|{OPENED}"),
        *body,
        *_troubles(flavour),
        printed(f"close|{CLOSED}"),
        *[_line("map", {f"@{key}": maps[key]}) for key in sorted(maps)],
        Trailer("command", WINDOW, 0, 30 * MS if body else None).line(),
    ]


def result_of(name, flavour="full", story=None):
    return analyse.analyse_lines(lines(name, flavour, story))


def header(chosen):
    declared = chosen.template.declaration
    info = ProfileInfo(chosen.name, chosen.template.name, {}, {}, "0")
    machine = TargetInfo("6.18.0", "x86_64", 2, "0.17.0", {})
    start = "2026-01-01T00:00:00.000+00:00"
    tool = Tool("mmaplock-bt", "VERSION")
    told = {"findings": declared.findings, "calm": declared.calm}
    return Head(info, machine, tool, start, ["./work"], declared.outputs, PROBES, **told).line()


def _line(kind, data):
    return json.dumps({"type": kind, "data": data})


def _seen(chosen, story):
    """What the script prints while the window is open, and what the tool adds."""
    outputs = chosen.template.declaration.outputs
    paths = {str(i): path + HOSTILE_TEXT * story.is_hostile for i, path in PATHS.items()}
    named = f"read+16 (libc.so.6){HOSTILE_TEXT * story.is_hostile}"
    return [
        CgroupPaths(paths).line(),
        *_names(outputs, story),
        *_events(chosen, story),
        *_open(outputs, story),
        UserFrames(AGENT.pid, {"0x7f0000001000": named}).line(),
    ]


def _names(outputs, story):
    """Of each pid once, where keys have pids."""
    keys = {c.name for o in outputs.values() if o.kind != "events" for c in o.printed}
    rows = [*story.holds, *story.waits]
    known = {r["pid"]: (r["comm"], 0) for r in rows if "pid" in keys}
    if "owner_pid" in keys:
        known |= {r["owner_pid"]: (r["owner_comm"], r["cgroup"]) for r in rows if r["owner_pid"]}
    for pid, (comm, cgroup) in known.items():
        yield printed(f"name|{pid}|{cgroup}|{_escaped(comm, story)}")


def _events(chosen, story):
    found = []
    for name, output in chosen.template.declaration.outputs.items():
        if output.kind == "events" and output.is_printed:
            for row in _rows(chosen.template, name, output, story):
                if row.get("hold_ns", row.get("wait_ns")) >= LONG_NS:
                    words = [_word(column, row[column.name], story) for column in output.printed]
                    found.append((row["time_ns"], printed("|".join([name, *words]))))
    return [text for _, text in sorted(found, key=lambda item: item[0])]


def _rows(template, name, output, story):
    """The holds or the waits, whichever the output is of, as far as they are picked."""
    columns = {column.name for column in output.printed}
    recorded = dict(re.findall(r'record\("(\w+)", "\$(\w+)"\)', template.source))
    is_of_waits = "wait_ns" in columns or recorded.get(name) == "wait_ns"
    picks = PICKED.get((template.name, name), bool)
    return [row for row in (story.waits if is_of_waits else story.holds) if picks(row)]


def _word(column, value, story):
    match column.type:
        case "enum":
            return str(column.labels.index(value))
        case "hex":
            return f"{value:x}"
        case "text":
            return _escaped(value, story)
        case "kernel_stack" | "user_stack":
            is_evil = story.is_hostile and column.type == "kernel_stack"
            return stack_text([*value, HOSTILE_FRAME] if is_evil else value)
        case _:
            return str(value)


def _escaped(comm, story):
    r"""Sixteen bytes as %rx prints them: \x61\x00..."""
    raw = HOSTILE_COMMS[len(comm) % 2] if story.is_hostile and comm else comm.encode()
    return builders.escaped(raw)


def _maps(chosen, story, flavour):
    is_empty = flavour == "empty"
    found = {f"book_{name}": 0 if is_empty else count for name, count in BOOKS.items()}
    found["book_acquires"] -= 4 * (flavour == "lossy")
    found["holding"] = {} if is_empty else dict(map(_holding, [*OPEN[:OPEN_HOLDS], *LATE]))
    found["waiting"] = {} if is_empty else dict(map(_waiting, OPEN[OPEN_HOLDS:]))
    if "@acquired_at" in chosen.template.source and not is_empty:
        found[records.ACQUIRED_AT] = {_key(OPEN[0]): stack_text(SMAPS)}
    for name, output in chosen.template.declaration.outputs.items():
        if output.kind != "events" and output.is_printed:
            found |= _filled(name, output, _rows(chosen.template, name, output, story))
    return found


def _key(one):
    """(tid, mm) as 0.17 prints it: the address as a negative number."""
    return f"{one.tid},{int(one.mm, 16) - 2**64}"


def _holding(one):
    late = records.BITS["late"] * (one in LATE)
    return _key(one), one.since_ns << 4 | late | MODES.index(one.mode)


def _waiting(one):
    return _key(one), one.since_ns << records.BITS["WAIT_TIME"] | MODES.index(one.mode)


def _filled(name, output, rows):
    """The maps of a table or histogram: counts, sums, maxima."""
    values, counts = defaultdict(list), defaultdict(int)
    for row in rows:
        ns = row.get("hold_ns", row.get("wait_ns"))
        key = ",".join(_word(column, row[column.name], None) for column in output.columns)
        values[key].append(ns)
        counts[f"{key},{_lower(ns)}" if output.kind == "histogram" else key] += 1
    sums = {key: sum(found) for key, found in values.items()}
    tops = {key: max(found) for key, found in values.items()}
    return {name: dict(counts), f"{name}_sum": sums, f"{name}_max": tops}


def _lower(value):
    """The lower end of the value's bucket, as the script works it out."""
    shift = max(0, value.bit_length() - 4)
    return value >> shift << shift


def _open(outputs, story):
    """Who and whose, and the tool's looks at what is open."""
    opens = [output.open for output in outputs.values() if isinstance(output, OpenSpans)]
    if not opens:
        return
    yield from _parties(story)
    if opens[0].every:
        yield _poll(OPENED + 100 * MS, [*GONE, *LATE], story)
    yield _poll(CLOSED, [*OPEN, *LATE], story, last=True)


def _parties(story):
    for space in SPACES:
        kind = OWNER_KINDS.index(space.owner_kind)
        whose = f"{space.mm:x}|{space.owner_pid}|{kind}|{space.cgroup}"
        yield printed(f"whose|{whose}|{_escaped(space.owner_comm, story)}")
    for actor in THREADS:
        kind = ACTOR_KINDS.index(actor.actor_kind)
        yield printed(f"thread|{actor.tid}|{actor.pid}|{kind}|{_escaped(actor.comm, story)}")


def _poll(now_ns, spans, story, *, last=False):
    """One look. The tool has names as text; stacks are of those who could be looked at."""
    seen = tuple(
        replace(one, comm=records.text(_escaped(one.comm, story))) if one.comm else one
        for one in spans
    )
    evil = [HOSTILE_FRAME] * story.is_hostile
    stacks = {str(one.tid): [*(QUEUEING if one.state == "wait" else SMAPS), *evil]
              for one in spans if one not in LATE}  # fmt: skip
    return Look(now_ns, last, seen, stacks).line()


def _troubles(flavour):
    """What is lost, and what bpftrace says beside the outputs."""
    if flavour == "hostile":
        # 0.17 prints a byte above 0x7f sign-extended.
        yield '{"type": "value", "data": "\\uffffffc3\\uffffffa9"}'
        yield _line("runtime_error", HOSTILE_TEXT)
    if flavour == "lossy":
        yield from (_line("lost_events", {"events": events}) for events in (2, 5))
        for helper, code, times in (
            ("map_update_elem", -7, 3), ("get_stackid", -17, 2), ("get_stackid", -14, 1)
        ):  # fmt: skip
            yield from [json.dumps({"type": "helper_error", "helper": helper, "retcode": code})
                        ] * times  # fmt: skip
        yield '{"type": "printf", "data": "cut off'
