"""Trace with a profile and report.

Without --duration or a COMMAND it runs until Ctrl-C, then prints the result.
"""

import argparse
import datetime
import json
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TextIO

from pydantic import ValidationError

from mmaplock_bt import __version__, analysis, document, profile, renderers, script, target
from mmaplock_bt.errors import COMMAND_FAILED, BpftraceError, Interrupted, RefusedError, UsageError
from mmaplock_bt.profile import Filter, Profile, Side
from mmaplock_bt.renderers import table
from mmaplock_bt.result import ProfileInfo, Result, TargetInfo, Tool
from mmaplock_bt.runner import HeldCommand, Tracer
from mmaplock_bt.script import Script
from mmaplock_bt.symbols import UserFrames
from mmaplock_bt.target import Target
from mmaplock_bt.units import format_ns, parse_duration

LIMIT_BYTES = 512 << 20
TICK_S = 0.1
COMMAND_TICK_S = 0.01


@dataclass
class Stop:
    """What may end the window; `reason` names what did."""

    deadline_ns: int | None = None
    pidfd: int | None = None
    command: HeldCommand | None = None
    interrupts: int = 0

    def reason(self, tracer: Tracer) -> str | None:
        if self.interrupts:
            return "interrupt"
        if self.command is not None and self.command.status is not None:
            return "command"
        if self.pidfd is not None and select.select([self.pidfd], [], [], 0)[0]:
            return "target_exit"
        if self.deadline_ns is not None and time.monotonic_ns() >= self.deadline_ns:
            return "duration"
        if tracer.received_bytes > LIMIT_BYTES:
            return "limit"
        return None if tracer.alive else "bpftrace_died"


def main(arguments: argparse.Namespace) -> int:
    writers = [(path, renderers.for_file(path)) for path in arguments.output]
    chosen = chosen_profile(arguments)
    check_command(arguments.command)
    machine = target.probe(arguments.bpftrace)
    result, died = trace(chosen, machine, arguments)
    for path, render in writers:
        _write(path, render(result))
    show(result, arguments.format)
    if chosen.gates:
        print(f"note: {len(chosen.gates)} gates parsed; this version judges none", file=sys.stderr)
    if died is not None:
        raise died
    command = result.window.command
    return COMMAND_FAILED if command and command.status not in (0, None) else 0


def chosen_profile(arguments: argparse.Namespace) -> Profile:
    """The profile with the command line's own settings over it. Raises UsageError."""
    chosen = profile.with_params(profile.load(arguments.profile), arguments.set or [])
    owner, actor = chosen.filter.owner, chosen.filter.actor
    try:
        chosen = replace(
            chosen,
            filter=Filter(
                owner=Side(pid=arguments.pid or owner.pid, comm=owner.comm),
                actor=Side(pid=arguments.actor_pid or actor.pid, comm=arguments.comm or actor.comm),
                mode=arguments.mode or chosen.filter.mode,
            ),
        )
    except ValidationError as error:
        raise UsageError(f"filter: {document.sentence(error.errors()[0], Side)}") from error
    if arguments.duration is None:
        return chosen
    duration_ns = parse_duration(arguments.duration)
    if duration_ns == 0:
        raise UsageError("--duration 0: the window would be empty")
    return replace(chosen, duration_ns=duration_ns)


def check_command(argv: list[str]) -> None:
    """Fails before tracing, not after, when the command cannot be found."""
    if argv and shutil.which(argv[0]) is None:
        raise UsageError(f"the command '{argv[0]}' is not found on PATH or not executable")


def show(result: Result, name: str) -> None:
    """Payload on stdout; colour only for a terminal."""
    if name == "table":
        sys.stdout.write(table.render(result, color=sys.stdout.isatty()))
    else:
        sys.stdout.write(renderers.BY_NAME[name](result))
    sys.stdout.flush()


def trace(
    chosen: Profile, machine: Target, arguments: argparse.Namespace
) -> tuple[Result, BpftraceError | None]:
    """Runs the whole window. The error is bpftrace's death, with what was collected before it."""
    tree = bool(arguments.command) and not arguments.system_wide
    rendered = script.render(chosen, machine, tree=tree)
    try:
        return _trace(chosen, machine, rendered, arguments)
    except RefusedError:
        if not rendered.is_raw:
            raise
    # 0.27 takes raw tracepoints only while some program with BTF is loaded: trials get outdated.
    print("note: refused with raw tracepoints; trying once more without", file=sys.stderr)
    machine = replace(machine, facts={**machine.facts, "raw_tracepoint": False})
    return _trace(chosen, machine, script.render(chosen, machine, tree=tree), arguments)


def _trace(
    chosen: Profile, machine: Target, rendered: Script, arguments: argparse.Namespace
) -> tuple[Result, BpftraceError | None]:
    stop = Stop()
    argv = list(arguments.command)
    with ExitStack() as stack:
        stack.callback(_restore, _catch(stop))
        if chosen.filter.owner.pid is not None:
            stop.pidfd = _pidfd(chosen.filter.owner.pid, stack)
        raw = _raw(arguments.save_raw, stack)
        if argv:
            stop.command = HeldCommand(argv)
            stack.callback(stop.command.end)
        root = stop.command.pid if stop.command is not None else 0
        tracer = stack.enter_context(Tracer(rendered, machine, root))
        lines = _tee(_stream(tracer, stop, chosen, rendered, arguments), raw)
        result = analysis.analyse(lines)
        died = None
        if result.window.ended_by == "bpftrace_died" or tracer.status not in (0, None):
            died = BpftraceError(
                f"bpftrace ended with status {tracer.status} before the window did; "
                f"what it had printed is above. {' / '.join(tracer.diagnostics[-3:])}"
            )
        return result, died


def _stream(
    tracer: Tracer,
    stop: Stop,
    chosen: Profile,
    rendered: Script,
    arguments: argparse.Namespace,
) -> Iterator[str]:
    """The raw stream: header, bpftrace's lines, trailer."""
    _progress("compiling and attaching", arguments)
    first = tracer.open_window(lambda: stop.interrupts > 0)
    if stop.interrupts:
        raise Interrupted("interrupted before the probes were live: there is no result")
    start = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    opened_ns = time.monotonic_ns()
    yield _header(chosen, tracer.target, rendered, start, arguments.command)
    frames = UserFrames.of(rendered.outputs if tracer.target.facts.get("lockless_maps") else {})
    yield from frames.watch(first)
    if chosen.duration_ns is not None:
        stop.deadline_ns = opened_ns + chosen.duration_ns
    if stop.command is not None:
        stop.command.release()
    while (reason := stop.reason(tracer)) is None:
        _progress(_remaining(stop, opened_ns), arguments)
        if stop.command is not None:
            frames.remember(stop.command.pid)
        yield from frames.watch(tracer.read(_patience(stop)))
    duration_ns = time.monotonic_ns() - opened_ns
    _progress("", arguments)
    yield from frames.watch(tracer.close_window())
    yield from frames.records()
    status = stop.command.status if stop.command is not None else None
    yield analysis.trailer(reason, duration_ns, status)


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
    return analysis.Head(
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


def _progress(text: str, arguments: argparse.Namespace) -> None:
    """One line that rewrites itself, on a terminal's stderr only."""
    if sys.stderr.isatty() and not arguments.quiet:
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def _raw(path: str | None, stack: ExitStack) -> TextIO | None:
    if path is None:
        return None
    try:
        return stack.enter_context(Path(path).open("w", encoding="utf-8", errors="surrogateescape"))
    except OSError as error:
        raise UsageError(f"cannot write --save-raw {path}: {error.strerror}") from error


def _tee(lines: Iterator[str], raw: TextIO | None) -> Iterator[str]:
    for line in lines:
        if raw is not None and line.strip():
            raw.write(line + "\n")
        yield line


def _write(path: str, text: str) -> None:
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


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


def dump(value: object) -> None:
    print(json.dumps(value, indent=1))
