"""run: traces with a profile and reports.

Without --duration or a COMMAND it runs until Ctrl-C, then prints the result.
"""

import argparse
import os
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from mmaplock_bt.commands import gate, output
from mmaplock_bt.commands.output import Outputs
from mmaplock_bt.commands.tracing import trace
from mmaplock_bt.errors import COMMAND_FAILED, BpftraceError, UsageError
from mmaplock_bt.judging import series, verdicts
from mmaplock_bt.judging.series import Series
from mmaplock_bt.machine import inventory
from mmaplock_bt.result.model import Result
from mmaplock_bt.spec import located_yaml, profile
from mmaplock_bt.spec.profile import Filter, Profile, Side
from mmaplock_bt.tracing.ending import Options
from mmaplock_bt.units import parse_duration, parse_sample, parse_share

DEFAULT = "overview"
RUNS = "mmaplock-bt-runs"


def main(arguments: argparse.Namespace) -> int:
    """Traces one window or several, writes the outcome, returns the exit code."""
    outputs = output.wanted(arguments, folders_allowed=1)
    arguments.profile = arguments.profile or DEFAULT
    chosen = chosen_profile(arguments)
    if arguments.max_overhead is not None:
        chosen = replace(chosen, max_overhead_ppm=_max_overhead(arguments.max_overhead))
    if arguments.trap:
        from mmaplock_bt.commands import trap  # noqa: PLC0415  (a run waits for its imports)

        return trap.main(arguments, chosen)
    chosen = profile.with_gates(chosen, gate.given(arguments, chosen.template.declaration.outputs))
    check_command(arguments.command)
    _check_repeat(arguments, chosen, outputs)
    runs = _runs(arguments, chosen, _folder(arguments, outputs))
    made = series.judged(runs, chosen.gates, arguments.judge, arguments.repeat)
    output.deliver_series(outputs, made)
    return ended(made)


def _runs(arguments: argparse.Namespace, chosen: Profile, folder: Path | None) -> list[Result]:
    """One window after another; what ends one early ends them all. Each is saved as it is made."""
    machine = inventory.probe(arguments.bpftrace)
    made: list[Result] = []
    for turn in range(1, arguments.repeat + 1):
        result = trace(chosen, machine, options(arguments))
        made.append(series.with_verdicts(result, chosen.gates))
        if folder is not None:
            path = series.save(made[-1], folder)
            print(f"run {turn} of {arguments.repeat}: {path}", file=sys.stderr)
        if result.window.failure or result.window.ended_by == "interrupt":
            break
    return made


def _check_repeat(arguments: argparse.Namespace, chosen: Profile, outputs: Outputs) -> None:
    if arguments.repeat < 1:
        raise UsageError("--repeat: at least 1 run")
    if arguments.repeat == 1:
        return
    if not arguments.command and chosen.duration_ns is None:
        raise UsageError("--repeat needs a COMMAND or --duration: else no run would end")
    if arguments.save_raw or arguments.ready_fd is not None:
        raise UsageError("--save-raw and --ready-fd are for one run: not with --repeat")
    if any(name == "json" for name, _ in outputs.files) or outputs.shown == "json":
        raise UsageError("a result file holds one run: with --repeat give a folder, like -o runs/")


def _folder(arguments: argparse.Namespace, outputs: Outputs) -> Path | None:
    """Where each run's result is kept; a new one, so that no two series are mixed."""
    if arguments.add and outputs.folder is None:
        raise UsageError("--add needs the folder to add to, like -o runs/")
    if outputs.folder is None and arguments.repeat == 1:
        return None
    folder = outputs.folder or Path(RUNS) / time.strftime("%Y-%m-%dT%H-%M-%S")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = next(folder.glob("*.json"), None)
    except OSError as error:
        raise UsageError(f"cannot make the folder {folder}: {error.strerror}") from error
    if taken is not None and not arguments.add:
        raise UsageError(f"{taken} is there already: give another folder, or --add to its runs")
    return folder


def ended(made: Series) -> int:
    """Returns the exit code: the gates', else 6 where a traced command failed, else 0.

    Raises BpftraceError for a bpftrace that died, unless the gates' code is not 0 already.
    """
    code = verdicts.exit_code(made.verdicts)
    failure = made.last.window.failure
    if failure and not code:
        raise BpftraceError(failure)
    if failure:
        print(f"mmaplock-bt: {failure}", file=sys.stderr)
    commands = [result.window.command for result in made.runs]
    failed = any(command and command.status not in (0, None) for command in commands)
    return code or (COMMAND_FAILED if failed else 0)


def options(arguments: argparse.Namespace) -> Options:
    """Returns how to trace, by the command line. Raises UsageError for a wrong --ready-fd."""
    if arguments.ready_fd is not None:
        _own(arguments.ready_fd)
    return Options(
        arguments.command,
        arguments.system_wide,
        arguments.save_raw,
        arguments.quiet,
        ready_fd=arguments.ready_fd,
        head_start=arguments.head_start,
    )


def _own(fd: int) -> None:
    """Keeps bpftrace and the command from inheriting it. Raises UsageError."""
    try:
        os.set_inheritable(fd, False)
    except OSError as error:
        raise UsageError(f"--ready-fd {fd}: {error.strerror}") from error


def chosen_profile(arguments: argparse.Namespace) -> Profile:
    """Returns the profile with the command line's settings over it. Raises UsageError."""
    chosen = profile.with_params(profile.load(arguments.profile), arguments.set or [])
    try:
        chosen = replace(chosen, filter=_filter(arguments, chosen.filter))
    except ValidationError as error:
        raise UsageError(f"filter: {located_yaml.sentence(error.errors()[0], Side)}") from error
    if arguments.duration is not None:
        duration_ns = parse_duration(arguments.duration)
        if duration_ns == 0:
            raise UsageError("--duration 0: the window would be empty")
        chosen = replace(chosen, duration_ns=duration_ns)
    chosen = replace(
        chosen,
        locks=arguments.locks or chosen.locks,
        sample=parse_sample(arguments.sample) if arguments.sample else chosen.sample,
    )
    return profile.with_gates(chosen)


def _max_overhead(text: str) -> int:
    try:
        return parse_share(text)
    except UsageError as error:
        raise UsageError(f"--max-overhead: {error}") from error


def _filter(arguments: argparse.Namespace, base: Filter) -> Filter:
    """The profile's filter with the command line's over it. Raises ValidationError."""
    owner = {"pid": arguments.pid, "comm": arguments.owner_comm, "cgroup": arguments.cgroup}
    actor = {
        "pid": arguments.actor_pid, "comm": arguments.comm, "cgroup": arguments.actor_cgroup
    }  # fmt: skip
    for side in (owner, actor):
        side["descendants"] = (arguments.descendants and side["pid"] is not None) or None
    given = {"owner": owner, "actor": actor, "mode": arguments.mode}
    return profile.merge(base, given)


def check_command(argv: list[str]) -> None:
    """Raises UsageError, before anything is traced, for a command that is not found."""
    if argv and shutil.which(argv[0]) is None:
        raise UsageError(f"the command '{argv[0]}' is not found on PATH or not executable")
