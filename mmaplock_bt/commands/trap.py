"""run --trap: a cheap script stays armed; a hold or wait over a limit makes it capture a profile.

A capture is a run of its own: the two windows open and close without each other. Its duration
bounds it; the number of captures and their bytes on disk bound the trap.
"""

import argparse
import os
import re
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from mmaplock_bt import files, person, standard_streams
from mmaplock_bt.analysis.analyse import analyse
from mmaplock_bt.commands import fault
from mmaplock_bt.errors import BpftraceError, UsageError
from mmaplock_bt.escaping import safe
from mmaplock_bt.machine import inventory
from mmaplock_bt.renderers import findings
from mmaplock_bt.result.model import Result
from mmaplock_bt.result.saved import to_json
from mmaplock_bt.spec import declaration
from mmaplock_bt.spec.columns import ALONE_KINDS
from mmaplock_bt.spec.profile import Profile
from mmaplock_bt.stream import bpftrace_json, records
from mmaplock_bt.stream.recording import Head
from mmaplock_bt.stream.records import Events, Look, Record, Trailer
from mmaplock_bt.tracing import capture_run
from mmaplock_bt.tracing.capture_run import used
from mmaplock_bt.tracing.ending import Options
from mmaplock_bt.tracing.window import Window
from mmaplock_bt.units import format_ns, how_ended, parse_duration, parse_size

NEAR = 10  # kept are holds and waits of at least a tenth of what springs the trap
REASON = "reason.txt"
REST_NS = 10 * 10**9
IDENTITIES = 16384  # how many records about threads and owners are kept
SELECTION = (
    *("pid", "actor_pid", "comm", "owner_comm", "cgroup", "actor_cgroup", "mode", "bpftrace"),
    *("locks", "sample", "max_overhead"),
)
_LIMIT = re.compile(r"\s*(hold|wait)\s*>=?\s*(\S.*?)\s*")
_ENDED = {"holds": ("hold", "hold_ns"), "waits": ("wait", "wait_ns")}  # of templates/_trap.bt.j2
_KEPT = (
    bpftrace_json.Attached, records.Opened, records.Named, records.Whose, records.Thread,
    records.Holder, records.Running, records.CgroupPaths,
)  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """The lengths, in ns, that spring the trap, for 'hold' and 'wait'.

    `keep` is how many holds and waits before it are kept; `captures` and `disk_bytes` end the trap.
    """

    by_kind: dict[str, int]
    keep: int
    captures: int
    disk_bytes: int


def main(arguments: argparse.Namespace, chosen: Profile) -> int:
    """Runs until -d or Ctrl-C, or until there are enough captures. Raises BpftraceError."""
    limits = _limits(arguments)
    machine = inventory.probe(arguments.bpftrace)
    one = Trap(
        limits,
        Path(arguments.trap_dir),
        lambda folder: subprocess.Popen(_command(arguments, folder), stdin=subprocess.DEVNULL),
        _say,
    )
    _say(f"armed: {' or '.join(arguments.trap)}, then {arguments.profile} ({arguments.capture})")
    options = Options(quiet=arguments.quiet)
    window = Window(armed(chosen, limits.by_kind), machine, options)
    with window, fault.keeping(lambda: {"raw.ndjson": window.salvaged()}):
        if window.head.profile.locks == "contended" and "hold" in limits.by_kind:
            _say("a hold counts while somebody waits behind it (--locks all: every hold)")
        folders = one.watch(window.head, window.records())
    for folder in folders:
        print(f"{folder}: {_reason(folder).strip()}")
    if one.failure is not None:
        raise BpftraceError(one.failure)
    return 0


def parse(texts: list[str]) -> dict[str, int]:
    """Reads ['hold > 50ms', 'wait >= 1s'] as ns by 'hold' and 'wait'. Raises UsageError."""
    found = {}
    for text in texts:
        match = _LIMIT.fullmatch(text)
        if match is None:
            raise UsageError(f"--trap '{text}': expected hold > TIME or wait > TIME")
        if match[1] in found:
            raise UsageError(f"--trap '{text}': there is a limit for a {match[1]} already")
        found[match[1]] = parse_duration(match[2])
        if found[match[1]] < 10**6:
            raise UsageError(f"--trap '{text}': 1ms is the shortest that makes sense")
    return found


def armed(chosen: Profile, by_kind: dict[str, int]) -> Profile:
    """Returns the cheap profile that watches for what `chosen` is to capture; same filter."""
    watching = declaration.shipped("_trap")
    params = {
        name: param.parse(param.default) for name, param in watching.declaration.params.items()
    }
    older = min(by_kind.values())
    params |= by_kind | {"older": older, "near": max(1, older // NEAR)}
    return replace(
        chosen, name="trap", template=watching, params=params, gates=(),
        description=watching.declaration.question,
    )  # fmt: skip


@dataclass
class Trap:
    """A trap that follows the armed script's records; `capture` starts the run into a folder."""

    limits: Limits
    folder: Path
    capture: Callable[[Path], "subprocess.Popen[bytes]"]
    say: Callable[[str], None]
    recent: deque[Record] = field(default_factory=deque)
    known: deque[Record] = field(default_factory=lambda: deque(maxlen=IDENTITIES))
    running: "subprocess.Popen[bytes] | None" = None
    sprung: list[Path] = field(default_factory=list)
    failure: str | None = None
    armed_ns: int = field(default_factory=time.monotonic_ns)
    rests_until_ns: int = 0  # after a capture that could not be made

    def watch(self, head: Head, stream: Iterable[Record]) -> list[Path]:
        """Returns the captures' folders once the window has ended or a bound is reached."""
        self.recent = deque(maxlen=self.limits.keep)
        try:
            for record in _one_by_one(stream):
                reason = self._note(record)
                if reason and self._is_free():
                    self._spring(reason, head)
                if self._is_full() and self._is_free():
                    break
        finally:
            self._end()
        return self.sprung

    def _note(self, record: Record) -> str | None:
        """Keeps a record; returns why it springs the trap, or None."""
        match record:
            case Look(spans=spans):
                if spans:
                    self.recent.append(record)
                return self._open(record)
            case Events(output=name) if name in _ENDED:
                self.recent.append(record)
                kind, column = _ENDED[name]
                if kind == "hold" and record.column("owner_kind")[0] in ALONE_KINDS:
                    return None
                (ns,) = record.column(column)
                if ns >= self.limits.by_kind.get(kind, 2**63):
                    return f"a {kind} lasted {format_ns(ns)}"
            case Trailer():
                self.failure = record.failure
            case _ if isinstance(record, _KEPT):
                self.known.append(record)
        return None

    def _open(self, look: Look) -> str | None:
        for span in look.spans:
            kind = "wait" if span.state == "wait" else "hold"
            age_ns = look.now_ns - span.since_ns
            if age_ns >= self.limits.by_kind.get(kind, 2**63) and not self._is_alone(kind, span.mm):
                return f"a {span.mode} {kind} is open for {format_ns(age_ns)}"
        return None

    def _is_alone(self, kind: str, mm: str) -> bool:
        """Whether it is a hold of an address space that nobody else can ask for."""
        told = (r for r in reversed(self.known) if isinstance(r, records.Whose) and r.mm == mm)
        last = next(told, None)
        return kind == "hold" and last is not None and last.owner_kind in ALONE_KINDS

    def _is_free(self) -> bool:
        """Whether no capture runs; the end of one arms the trap again."""
        if self.running is not None and self.running.poll() is not None:
            place = self.sprung[-1]
            _introduce(place / "report.txt", _reason(place))
            self.say(f"captured into {place} ({how_ended(self.running.returncode)}); armed")
            self.running = None
        return self.running is None

    def _is_full(self) -> bool:
        return (
            len(self.sprung) >= self.limits.captures or used(self.folder) > self.limits.disk_bytes
        )

    def _spring(self, reason: str, head: Head) -> None:
        if self._is_full() or time.monotonic_ns() < self.rests_until_ns:
            return
        place = self.folder / time.strftime(f"%Y%m%dT%H%M%S-{len(self.sprung) + 1}")
        try:
            files.folder(place)
            self.running = self.capture(place)
        except (OSError, UsageError) as error:
            self.rests_until_ns = time.monotonic_ns() + REST_NS
            self.say(f"{reason}: cannot capture it: {error}; the trap stays armed")
            return
        self.sprung.append(place)
        self.say(f"{reason}: capturing into {place}")
        self._describe(place, reason, self._before(head))

    def _describe(self, place: Path, reason: str, before: Result) -> None:
        found = [f"  {safe(one)}" for one in findings.sentences(before)]
        title = ["Before it (before.json):"] if found else []
        text = "\n".join([reason, *title, *found])
        try:
            files.write(str(place / REASON), text + "\n", force=False)
            files.write(str(place / "before.json"), to_json(before), force=False)
        except (OSError, UsageError) as error:
            self.say(f"cannot write what was before it into {place}: {error}")

    def _before(self, head: Head) -> Result:
        end = Trailer("limit", time.monotonic_ns() - self.armed_ns)
        return analyse(head, [*self.known, *self.recent, end])

    def _end(self) -> None:
        """Lets a capture that runs finish: its duration bounds it."""
        if self.running is not None:
            self.running.wait()
            self._is_free()


def _reason(place: Path) -> str:
    """What sprang the trap; the disk may have been full when it was written."""
    try:
        return (place / REASON).read_text(encoding="utf-8")
    except OSError:
        return "(why is not kept)"


def _introduce(report: Path, reason: str) -> None:
    """Puts what sprang the trap in front of a capture's report, which began after it."""
    with suppress(OSError, UsageError):  # the capture has failed, and said so
        text = report.read_text(encoding="utf-8")
        files.write(str(report), f"{reason}\nWhat came after it:\n{text}", force=True)


def _one_by_one(stream: Iterable[Record]) -> Iterator[Record]:
    """A record for each event: what springs the trap is the last that is kept."""
    for record in stream:
        if isinstance(record, Events):
            yield from (record._replace(rows=[row]) for row in record.rows)
        else:
            yield record


def _limits(arguments: argparse.Namespace) -> Limits:
    """Raises UsageError for options that make no trap."""
    if arguments.command:
        raise UsageError("--trap waits for what happens by itself: it takes no COMMAND")
    if arguments.gate or arguments.budget or arguments.repeat > 1 or arguments.output:
        raise UsageError(
            "--trap captures until it ends: no --gate, --budget, --repeat or -o; judge a "
            "capture with `mmaplock-bt gate DIR/result.json --gate ...`"
        )
    if arguments.save_raw or arguments.ready_fd is not None or arguments.system_wide:
        raise UsageError("--trap takes no --save-raw, --ready-fd or --system-wide")
    by_kind = parse(arguments.trap)
    if parse_duration(arguments.capture) == 0 or min(arguments.captures, arguments.keep) < 1:
        raise UsageError("--capture, --captures and --keep: nothing would be captured")
    disk_bytes = parse_size(arguments.max_disk)
    return Limits(by_kind, arguments.keep, arguments.captures, disk_bytes)


def _command(arguments: argparse.Namespace, folder: Path) -> list[str]:
    """The run of a capture, selected as this one; it ends with this process."""
    words = capture_run.words(arguments.profile, arguments.capture, folder)
    for name in SELECTION:
        value = getattr(arguments, name)
        for one in value if isinstance(value, list) else [value]:
            words += [] if one is None else [f"--{name.replace('_', '-')}", str(one)]
    words += ["--descendants"] * arguments.descendants
    whom = person.served()
    words += ["--user", whom.name if whom else "root"] if os.geteuid() == 0 else []
    for setting in arguments.set or []:
        words += ["--set", setting]
    return words


def _say(sentence: str) -> None:
    standard_streams.tell(sentence)
