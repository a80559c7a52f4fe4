"""run: traces with a profile and reports.

Without --duration or a COMMAND it runs until Ctrl-C, then prints the result.
"""

import argparse
import functools
import os
import shutil
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pydantic
from pydantic import ValidationError

from mmaplock_bt import files, person, standard_streams, usage
from mmaplock_bt.commands import colors, engines, fault, gate, live, output, selection
from mmaplock_bt.commands.live import Watched
from mmaplock_bt.commands.output import Outputs
from mmaplock_bt.commands.tracing import Traced, trace
from mmaplock_bt.errors import (
    COMMAND_FAILED,
    BpftraceError,
    Interrupted,
    RefusedError,
    UsageError,
)
from mmaplock_bt.judging import series, verdicts
from mmaplock_bt.judging.series import Series
from mmaplock_bt.machine import raising
from mmaplock_bt.machine.inventory import Machine
from mmaplock_bt.result.model import Result
from mmaplock_bt.result.saved import to_json
from mmaplock_bt.spec import located_yaml, profile
from mmaplock_bt.spec.profile import Filter, Profile, Side
from mmaplock_bt.tracing import ending
from mmaplock_bt.tracing.ending import Options
from mmaplock_bt.units import parse_duration, parse_sample, parse_share

DEFAULT = "overview"
RUNS = "mmaplock-bt-runs"


def main(arguments: argparse.Namespace) -> int:
    """Traces one window or several, writes the outcome, returns the exit code."""
    person.serve(arguments.user)
    if arguments.sudo:
        _raise(arguments)
    outputs = output.wanted(arguments, keeps_runs=True)
    watched(arguments)  # its faults come before anything is traced
    chosen = selected(arguments)
    if arguments.trap:
        from mmaplock_bt.commands import trap  # noqa: PLC0415  (a run waits for its imports)

        return trap.main(arguments, chosen)
    chosen = profile.with_gates(chosen, gate.given(arguments, chosen.template.declaration.outputs))
    if "judge" in arguments.given and not chosen.gates:
        raise UsageError("--judge is about gates: give --gate or --budget")
    check_command(arguments.command)
    _check_repeat(arguments, chosen, outputs)
    folder = _folder(arguments, outputs)
    machine = engines.machine(arguments, chosen)
    with ending.on_signals():  # one that comes while a result is written waits until it is
        runs = _runs(arguments, chosen, machine, folder)
        give_up_root()
        with fault.delivering(lambda: {} if folder else {"result.json": to_json(runs.made[-1])}):
            made = series.judged(runs.made, chosen.gates, arguments.judge, arguments.repeat)
            with output.judged(verdicts.exit_code(made.verdicts)):
                output.deliver_series(outputs, made)
    code = ended(made) or (Interrupted.exit_code if runs.are_cut_short else 0)
    if runs.unwritten and code == 0:
        raise UsageError(runs.unwritten)
    return code


def selected(arguments: argparse.Namespace) -> Profile:
    """Returns the profile that is to be traced with, or the default one. Raises UsageError."""
    arguments.profile = arguments.profile or DEFAULT
    chosen = chosen_profile(arguments)
    if arguments.max_overhead is None:
        return chosen
    return replace(chosen, max_overhead_ppm=_max_overhead(arguments.max_overhead))


def _raise(arguments: argparse.Namespace) -> None:
    """Raises UsageError for what this process would need privilege for itself: bpftrace's maps."""
    for option in ("max_overhead", "descendants", "trap"):
        if getattr(arguments, option) and os.geteuid() != 0:
            name = option.replace("_", "-")
            raise UsageError(f"--{name} needs more of root than bpftrace: run it without --sudo")
    raising.use_sudo()


def give_up_root() -> None:
    """Nothing of what follows needs root, and names out of the kernel are hostile.

    But modules are still to be loaded: where they are root's alone, as below /root, it stays root.
    """
    modules = (os.__file__, __file__, str(pydantic.__file__))
    with person.acting():
        may_load = all(os.access(path, os.R_OK, effective_ids=True) for path in modules)
    if may_load:
        person.become()


@dataclass(frozen=True)
class Runs:
    """What was traced; `are_cut_short` by a signal before there were as many as asked for."""

    made: list[Result]
    are_cut_short: bool
    unwritten: str  # why a raw stream is not whole, or ''


def _runs(
    arguments: argparse.Namespace, chosen: Profile, machine: Machine, folder: Path | None
) -> Runs:
    """One window after another; what ends one early ends them all. Each is saved as it is made."""
    made: list[Result] = []
    traced = None
    try:
        while len(made) < arguments.repeat:
            traced, machine = _traced(arguments, chosen, machine)
            if made and traced.result.window.ended_by == "interrupt":
                break  # shorter than its like: it would be no run of the series
            judged = series.with_verdicts(traced.result, chosen.gates)
            made.append(_saved(arguments, judged, folder, len(made) + 1))
            if traced.interrupted or ending.noted() or traced.result.window.failure:
                break
    except (Interrupted, KeyboardInterrupt):
        if not made:
            raise
    unwritten = traced.unwritten if traced else ""
    if made[-1].window.failure:
        return Runs(made, are_cut_short=False, unwritten=unwritten)
    are_cut_short = len(made) < arguments.repeat or (
        arguments.repeat > 1 and made[-1].window.ended_by == "interrupt"
    )
    if are_cut_short:
        _tell_of_interrupt(len(made), arguments.repeat, folder)
    return Runs(made, are_cut_short, unwritten)


def _traced(
    arguments: argparse.Namespace, chosen: Profile, machine: Machine
) -> tuple[Traced, Machine]:
    """A window, and the machine as it was traced: where bpftrace works no more, by tracefs."""
    try:
        return trace(chosen, machine, options(arguments), watched(arguments)), machine
    except RefusedError as error:
        instead = engines.after(arguments, chosen, machine, error)
        if instead is None:
            raise
        return trace(chosen, instead, options(arguments), watched(arguments)), instead


def _saved(arguments: argparse.Namespace, result: Result, folder: Path | None, turn: int) -> Result:
    if folder is not None:
        with fault.delivering(lambda: {"result.json": to_json(result)}):
            path = series.save(result, folder)
        standard_streams.tell(f"run {turn} of {arguments.repeat}: {path}")
    return result


def _tell_of_interrupt(made: int, asked: int, folder: Path | None) -> None:
    kept = f"{made} run{' is' if made == 1 else 's are'} kept in {folder} (--add goes on there)"
    standard_streams.tell(f"mmaplock-bt: interrupted: {kept}, {asked} were asked for")


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
    files.folder(folder)
    taken = next(folder.glob("*.json"), None)
    if taken is not None and not arguments.add:
        raise UsageError(f"{taken} is there already: give another folder, or --add to its runs")
    return folder


def ended(made: Series) -> int:
    """Returns the exit code: the gates', else 6 where a traced command failed by itself, else 0.

    Raises BpftraceError for a bpftrace that died, unless the gates' code is not 0 already.
    """
    code = verdicts.exit_code(made.verdicts)
    failure = made.last.window.failure
    if failure and not code:
        raise BpftraceError(failure)
    if failure:
        standard_streams.tell(f"mmaplock-bt: {failure}")
    # Ctrl-C ends the command, too: then it has not failed, it was ended.
    windows = [run.window for run in made.runs if run.window.ended_by != "interrupt"]
    failed = any(one.command and one.command.status not in (0, None) for one in windows)
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
        force=arguments.force,
        ready_fd=arguments.ready_fd,
        head_start=arguments.head_start,
    )


def watched(arguments: argparse.Namespace) -> Watched | None:
    """Returns how the window is shown while it is open. Raises UsageError.

    A COMMAND that writes on the terminal would write over the screen: there are lines then.
    """
    if not arguments.live:
        return None
    is_shared = arguments.command and sys.stdout.isatty()
    screen = sys.stderr.isatty() and not is_shared
    color = colors.wanted(arguments.color, sys.stderr)
    shown = functools.partial(live.shown, screen=screen, color=color)
    return Watched(live.every_ns(arguments.refresh), shown)


def _own(fd: int) -> None:
    """Keeps bpftrace and the command from inheriting it. Raises UsageError."""
    try:
        os.set_inheritable(fd, False)
    except OSError as error:
        raise UsageError(f"--ready-fd {fd}: {error.strerror}") from error


def chosen_profile(arguments: argparse.Namespace) -> Profile:
    """Returns the profile with the command line's settings over it. Raises UsageError."""
    selection.resolve(arguments)
    chosen = profile.with_params(_loaded(arguments.profile), arguments.set or [])
    try:
        chosen = replace(chosen, filter=_filter(arguments, chosen.filter))
    except ValidationError as error:
        raise UsageError(f"filter: {located_yaml.sentence(error.errors()[0], Side)}") from error
    if getattr(arguments, "duration", None) is not None:  # not for a script
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


def _loaded(name: str) -> Profile:
    try:
        return profile.load(name)
    except UsageError as error:
        *before, last = error.sentences
        raise UsageError(*before, f"{last}{usage.as_command([name])}") from error


def _max_overhead(text: str) -> int:
    try:
        return parse_share(text)
    except UsageError as error:
        raise UsageError(f"--max-overhead: {error}") from error


def _filter(arguments: argparse.Namespace, base: Filter) -> Filter:
    """The profile's filter with the command line's over it.

    Raises ValidationError, and UsageError for descendants of nobody.
    """
    owner = {"pid": arguments.pid, "comm": arguments.owner_comm, "cgroup": arguments.cgroup}
    actor = {
        "pid": arguments.actor_pid, "comm": arguments.comm, "cgroup": arguments.actor_cgroup
    }  # fmt: skip
    made = profile.merge(base, {"owner": owner, "actor": actor, "mode": arguments.mode})
    if not arguments.descendants:
        return made
    sides = {"owner": made.owner.pid, "actor": made.actor.pid}
    if not any(sides.values()):
        raise UsageError("--descendants of which process? give it with -p or --actor-pid")
    return profile.merge(made, {n: {"descendants": True} for n, pid in sides.items() if pid})


def check_command(argv: list[str]) -> None:
    """Raises UsageError, before anything is traced, for a command that is not found."""
    if argv and shutil.which(argv[0]) is None:
        raise UsageError(f"the command '{argv[0]}' is not found on PATH or not executable")
