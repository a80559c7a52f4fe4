"""One window of tracing: bpftrace and the traced command started, watched and ended; a Result."""

import datetime
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import TextIO, TypeVar

from mmaplock_bt import __version__
from mmaplock_bt.analysis import analyse
from mmaplock_bt.errors import BpftraceError, Interrupted, RefusedError, UsageError
from mmaplock_bt.machine import cpu_pressure, pid_namespace
from mmaplock_bt.machine.inventory import Target
from mmaplock_bt.result.model import ProfileInfo, Result, TargetInfo, Tool
from mmaplock_bt.script import render
from mmaplock_bt.script.render import Script
from mmaplock_bt.spec.profile import Profile, merge
from mmaplock_bt.stream import collect
from mmaplock_bt.tracing import descendants
from mmaplock_bt.tracing.bpftrace import HeldCommand, Tracer
from mmaplock_bt.tracing.cgroup_paths import Cgroups
from mmaplock_bt.tracing.open_spans import Outstanding
from mmaplock_bt.tracing.user_frames import UserFrames
from mmaplock_bt.units import format_ns, safe

LIMIT_BYTES = 512 << 20
Made = TypeVar("Made")
TICK_S = 0.1
COMMAND_TICK_S = 0.01
CLEAR = "\r\x1b[K"


@dataclass(frozen=True)
class Options:
    """How to trace, beside what: the command line's part that is no profile."""

    command: list[str] = field(default_factory=list)
    system_wide: bool = False
    save_raw: str | None = None
    quiet: bool = False
    limit_bytes: int | None = LIMIT_BYTES
    ready_fd: int | None = None


@dataclass
class Stop:
    """What may end the window; `ended_by` names what did."""

    deadline_ns: int | None = None
    pidfd: int | None = None
    command: HeldCommand | None = None
    limit_bytes: int | None = LIMIT_BYTES
    interrupts: int = 0
    ended_by: str | None = None

    def reason(self, tracer: Tracer) -> str | None:
        """Notes and tells why the window ends; None while it does not."""
        self.ended_by = self._reason(tracer)
        return self.ended_by

    def _reason(self, tracer: Tracer) -> str | None:
        if self.interrupts:
            return "interrupt"
        if self.command is not None and self.command.status is not None:
            return "command"
        if self.pidfd is not None and select.select([self.pidfd], [], [], 0)[0]:
            return "target_exit"
        if self.deadline_ns is not None and time.monotonic_ns() >= self.deadline_ns:
            return "duration"
        if self.limit_bytes is not None and tracer.received_bytes > self.limit_bytes:
            return "limit"
        return None if tracer.alive else "bpftrace_died"


def trace(
    chosen: Profile, machine: Target, options: Options
) -> tuple[Result, BpftraceError | None]:
    """Runs the whole window. The error is bpftrace's death, with what was collected before it."""
    return follow(chosen, machine, options, analyse.analyse)


def follow(
    chosen: Profile, machine: Target, options: Options, use: Callable[[Iterator[str]], Made]
) -> tuple[Made, BpftraceError | None]:
    """As trace(), for whoever wants the raw stream's lines while they come."""
    is_tree = bool(options.command) and not options.system_wide
    known = _as_machine_counts(chosen, machine)
    rendered = render.render(known, machine, tree=is_tree)
    try:
        return _follow(chosen, machine, rendered, options, use)
    except RefusedError:
        if not rendered.is_raw:
            raise
    # 0.27 takes raw tracepoints only while some program with BTF is loaded: trials get outdated.
    print("note: refused with raw tracepoints; trying once more without", file=sys.stderr)
    machine = replace(machine, facts={**machine.facts, "raw_tracepoint": False})
    rendered = render.render(known, machine, tree=is_tree)
    return _follow(chosen, machine, rendered, options, use)


def _as_machine_counts(chosen: Profile, machine: Target) -> Profile:
    """The profile with its filter's pids as the kernel counts them."""
    sides = {"owner": chosen.filter.owner, "actor": chosen.filter.actor}
    ours = {name: side.pid for name, side in sides.items() if side.pid is not None}
    known = pid_namespace.translate(machine.path, list(ours.values())) if ours else []
    given = {name: {"pid": pid} for name, pid in zip(ours, known, strict=True)}
    return replace(chosen, filter=merge(chosen.filter, given))


def _follow(
    chosen: Profile,
    machine: Target,
    rendered: Script,
    options: Options,
    use: Callable[[Iterator[str]], Made],
) -> tuple[Made, BpftraceError | None]:
    stop = Stop(limit_bytes=options.limit_bytes)
    argv = list(options.command)
    with ExitStack() as stack:
        stack.callback(_restore, _catch(stop))
        if chosen.filter.owner.pid is not None:
            stop.pidfd = _pidfd(chosen.filter.owner.pid, stack)
        raw = _raw(options.save_raw, stack)
        if argv:
            stop.command = HeldCommand(argv)
            stack.callback(stop.command.end)
        root = stop.command.pid if stop.command is not None else 0
        tracer = stack.enter_context(Tracer(rendered, machine, root))
        made = use(_tee(_stream(tracer, stop, chosen, rendered, options), raw))
        died = None
        if stop.ended_by == "bpftrace_died" or tracer.status not in (0, None):
            died = BpftraceError(
                f"bpftrace ended with status {tracer.status} before the window did; "
                f"what it had printed is above. {' / '.join(tracer.diagnostics[-3:])}"
            )
        return made, died


def _stream(
    tracer: Tracer, stop: Stop, chosen: Profile, rendered: Script, options: Options
) -> Iterator[str]:
    """The raw stream: header, bpftrace's lines, trailer."""
    _progress("compiling and attaching", options)
    first = tracer.open_window(lambda: stop.interrupts > 0)
    if stop.interrupts:
        raise Interrupted("interrupted before the probes were live: there is no result")
    start = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    opened_ns, waited_ns = time.monotonic_ns(), cpu_pressure.waited_ns()
    yield _header(chosen, tracer.target, rendered, start, options.command)
    descendants.add_descendants(_roots(chosen), tracer)
    with closing(_Listeners.of(chosen, rendered, tracer.target)) as listeners:
        yield from listeners.watch(first)
        _tell_ready(options.ready_fd)
        if chosen.duration_ns is not None:
            stop.deadline_ns = opened_ns + chosen.duration_ns
        if stop.command is not None:
            stop.command.release()
        while (reason := stop.reason(tracer)) is None:
            _progress(_remaining(stop, opened_ns), options)
            if stop.command is not None:
                listeners.frames.remember(stop.command.pid)
            yield from listeners.watch(tracer.read(_patience(stop)))
            yield from listeners.look(tracer)
        duration_ns, cpu_wait_ns = time.monotonic_ns() - opened_ns, cpu_pressure.since(waited_ns)
        _progress("", options)
        yield from listeners.look(tracer, last=True)
        yield from listeners.watch(tracer.close_window())
        yield from listeners.records()
    status = stop.command.status if stop.command is not None else None
    yield collect.trailer(reason, duration_ns, status, cpu_wait_ns)


@dataclass
class _Listeners:
    """Those who hear the stream to learn names while they exist, and add lines of their own."""

    frames: UserFrames
    cgroups: Cgroups
    outstanding: list[Outstanding]

    @classmethod
    def of(cls, chosen: Profile, rendered: Script, machine: Target) -> "_Listeners":
        facts = machine.facts
        is_ours = not facts.get("pid_namespace")  # else /proc/PID is another process
        return cls(
            UserFrames.of(rendered.outputs if is_ours and facts.get("lockless_maps") else {}),
            Cgroups.of(rendered.outputs),
            [
                Outstanding(
                    chosen.params[output.open.older],
                    chosen.params[output.open.every] if output.open.every else None,
                    _say,
                    reads_stacks=is_ours,
                )
                for output in rendered.outputs.values()
                if output.open is not None
            ],
        )

    def watch(self, lines: Iterable[str]) -> Iterator[str]:
        lines = self.cgroups.watch(self.frames.watch(lines))
        for one in self.outstanding:
            lines = one.watch(lines)
        yield from lines

    def look(self, tracer: Tracer, *, last: bool = False) -> Iterator[str]:
        if tracer.alive:
            for one in self.outstanding:
                yield from one.poll(tracer.pid, last=last)

    def records(self) -> Iterator[str]:
        yield from self.frames.records()
        yield from self.cgroups.records()

    def close(self) -> None:
        for one in self.outstanding:
            one.close()


def _tell_ready(fd: int | None) -> None:
    """Whoever waits for the other end knows that the window is open. Raises UsageError."""
    if fd is None:
        return
    try:
        os.write(fd, b"ready\n")
        os.close(fd)
    except OSError as error:
        raise UsageError(f"--ready-fd {fd}: {error.strerror}") from error


def _roots(chosen: Profile) -> dict[str, int]:
    """The script's maps of descendants, by the process whose they are."""
    sides = {"tree": chosen.filter.owner, "acting": chosen.filter.actor}
    return {name: side.pid for name, side in sides.items() if side.descendants and side.pid}


def _say(sentence: str) -> None:
    """Tells what is seen while the window is open, over the countdown's line."""
    clear = CLEAR if sys.stderr.isatty() else ""
    sys.stderr.write(f"{clear}{safe(sentence)}\n")
    sys.stderr.flush()


def _header(chosen: Profile, machine: Target, rendered: Script, start: str, argv: list[str]) -> str:
    info = ProfileInfo(
        chosen.name,
        chosen.template.name,
        params_in_units(chosen),
        chosen.filter.model_dump(exclude_none=True),
        rendered.sha256,
    )
    facts = TargetInfo(
        machine.kernel, machine.arch, machine.cpus, machine.bpftrace, dict(machine.facts)
    )
    tool = Tool("mmaplock-bt", __version__)
    return collect.Head(
        info, facts, tool, start, argv or None, rendered.outputs, rendered.probes
    ).line()


def params_in_units(chosen: Profile) -> dict[str, int]:
    """Durations get their unit into the name: threshold -> threshold_ns."""
    declared = chosen.template.declaration.params
    suffix = {"duration": "_ns", "size": "_bytes", "int": ""}
    return {name + suffix[declared[name].type]: value for name, value in chosen.params.items()}


def _patience(stop: Stop) -> float:
    """How long one read may wait: short near the deadline and for a command's end."""
    if stop.command is not None:
        return COMMAND_TICK_S
    if stop.deadline_ns is None:
        return TICK_S
    return min(TICK_S, max(0.0, (stop.deadline_ns - time.monotonic_ns()) / 1e9))


def _remaining(stop: Stop, opened_ns: int) -> str:
    now = time.monotonic_ns()
    if stop.deadline_ns is not None:
        return f"tracing, {max(0, stop.deadline_ns - now) / 1e9:.1f} s left (Ctrl-C ends it)"
    return f"tracing for {format_ns(now - opened_ns)} (Ctrl-C ends it)"


def _progress(text: str, options: Options) -> None:
    """One line that rewrites itself, on a terminal's stderr only."""
    if sys.stderr.isatty() and not options.quiet:
        sys.stderr.write(CLEAR + text)
        sys.stderr.flush()


def _raw(path: str | None, stack: ExitStack) -> TextIO | None:
    if path is None:
        return None
    try:
        # Line by line: what came is kept however this process ends.
        file = Path(path).open("w", 1, encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
        return stack.enter_context(file)
    except OSError as error:
        raise UsageError(f"cannot write --save-raw {path}: {error.strerror}") from error


def _tee(lines: Iterator[str], raw: TextIO | None) -> Iterator[str]:
    for line in lines:
        if raw is not None and line.strip():
            raw.write(line + "\n")
        yield line


def _pidfd(pid: int, stack: ExitStack) -> int:
    try:
        found = os.pidfd_open(pid)
    except OSError as error:
        raise UsageError(f"-p {pid}: no such process ({error.strerror})") from error
    stack.callback(os.close, found)
    return found


Handler = Callable[[int, FrameType | None], object] | int | None


def _catch(stop: Stop) -> dict[signal.Signals, Handler]:
    """The first signal ends the window and keeps the result; the second ends at once."""

    def note(_number: int, _frame: FrameType | None) -> None:
        stop.interrupts += 1
        if stop.interrupts > 1:
            raise Interrupted("interrupted twice: the result is thrown away")

    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    return {number: signal.signal(number, note) for number in wanted}


def _restore(handlers: dict[signal.Signals, Handler]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
