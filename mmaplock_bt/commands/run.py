"""Trace with a profile and report.

Without --duration or a COMMAND it runs until Ctrl-C, then prints the result.
"""

import argparse
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from mmaplock_bt import document, profile, renderers, session, target
from mmaplock_bt.commands import trigger
from mmaplock_bt.errors import COMMAND_FAILED, UsageError
from mmaplock_bt.profile import Filter, Profile, Side
from mmaplock_bt.renderers import table
from mmaplock_bt.result import Result
from mmaplock_bt.session import Options
from mmaplock_bt.units import parse_duration

DEFAULT = "overview"


def main(arguments: argparse.Namespace) -> int:
    writers = [(path, renderers.for_file(path)) for path in arguments.output]
    arguments.profile = arguments.profile or DEFAULT
    chosen = chosen_profile(arguments)
    if arguments.trigger:
        return trigger.main(arguments, chosen)
    check_command(arguments.command)
    machine = target.probe(arguments.bpftrace)
    result, died = session.trace(chosen, machine, options(arguments))
    for path, render in writers:
        _write(path, render(result))
    show(result, arguments.format)
    if chosen.gates:
        print(f"note: {len(chosen.gates)} gates parsed; this version judges none", file=sys.stderr)
    if died is not None:
        raise died
    command = result.window.command
    return COMMAND_FAILED if command and command.status not in (0, None) else 0


def options(arguments: argparse.Namespace) -> Options:
    return Options(arguments.command, arguments.system_wide, arguments.save_raw, arguments.quiet)


def chosen_profile(arguments: argparse.Namespace) -> Profile:
    """The profile with the command line's own settings over it. Raises UsageError."""
    chosen = profile.with_params(profile.load(arguments.profile), arguments.set or [])
    try:
        chosen = replace(chosen, filter=_filter(arguments, chosen.filter))
    except ValidationError as error:
        raise UsageError(f"filter: {document.sentence(error.errors()[0], Side)}") from error
    if arguments.duration is None:
        return chosen
    duration_ns = parse_duration(arguments.duration)
    if duration_ns == 0:
        raise UsageError("--duration 0: the window would be empty")
    return replace(chosen, duration_ns=duration_ns)


def _filter(arguments: argparse.Namespace, base: Filter) -> Filter:
    """The profile's filter with the command line's words over it. Raises ValidationError."""
    owner = {"pid": arguments.pid, "comm": arguments.owner_comm, "cgroup": arguments.cgroup}
    actor = {
        "pid": arguments.actor_pid, "comm": arguments.comm, "cgroup": arguments.actor_cgroup
    }  # fmt: skip
    for side in (owner, actor):
        side["descendants"] = (arguments.descendants and side["pid"] is not None) or None
    given = {"owner": owner, "actor": actor, "mode": arguments.mode}
    return profile.merge(base, given)


def check_command(argv: list[str]) -> None:
    """Fails before tracing, not after, when the command cannot be found."""
    if argv and shutil.which(argv[0]) is None:
        raise UsageError(f"the command '{argv[0]}' is not found on PATH or not executable")


def show(result: Result, name: str) -> None:
    """Payload on stdout; colour only for a terminal."""
    if name == "none":
        return
    if name == "table":
        sys.stdout.write(table.render(result, color=sys.stdout.isatty()))
    else:
        sys.stdout.write(renderers.BY_NAME[name](result))
    sys.stdout.flush()


def _write(path: str, text: str) -> None:
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def dump(value: object) -> None:
    print(json.dumps(value, indent=1))
