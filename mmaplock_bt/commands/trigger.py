"""run --trigger: armed with a cheap script, captures the profile when a lock is held too long."""

import argparse
import subprocess
import sys
from pathlib import Path

from mmaplock_bt.commands import trap
from mmaplock_bt.errors import UsageError
from mmaplock_bt.machine import inventory
from mmaplock_bt.spec.profile import Profile
from mmaplock_bt.tracing import window
from mmaplock_bt.units import parse_duration, parse_size

SELECTION = (
    *("pid", "actor_pid", "comm", "owner_comm", "cgroup", "actor_cgroup", "mode", "bpftrace"),
)


def main(arguments: argparse.Namespace, chosen: Profile) -> int:
    """Runs until -d or Ctrl-C, or until there are enough captures."""
    if arguments.command:
        raise UsageError("--trigger waits for what happens by itself: it takes no COMMAND")
    if arguments.gate or arguments.budget or arguments.repeat > 1 or arguments.output:
        raise UsageError(
            "--trigger captures until it ends: no --gate, --budget, --repeat or -o; judge a "
            "capture with `mmaplock-bt gate DIR/result.json --gate ...`"
        )
    by_kind = trap.parse(arguments.trigger)
    if parse_duration(arguments.capture) == 0 or min(arguments.captures, arguments.keep) < 1:
        raise UsageError("--capture, --captures and --keep: nothing would be captured")
    limits = trap.Limits(
        by_kind, arguments.keep, arguments.captures, parse_size(arguments.max_disk)
    )
    machine = inventory.probe(arguments.bpftrace)
    armed = trap.armed(chosen, by_kind)
    one = trap.Trap(
        armed.template.declaration.outputs,
        limits,
        Path(arguments.trap_dir),
        lambda folder: subprocess.Popen(_command(arguments, folder), stdin=subprocess.DEVNULL),
        _say,
    )
    _say(f"armed: {' or '.join(arguments.trigger)}, then {arguments.profile} ({arguments.capture})")
    options = window.Options(quiet=arguments.quiet, limit_bytes=None)
    folders, died = window.follow(armed, machine, options, one.watch)
    for folder in folders:
        print(f"{folder}: {(folder / 'trigger.txt').read_text().strip()}")
    if died is not None:
        raise died
    return 0


def _command(arguments: argparse.Namespace, folder: Path) -> list[str]:
    """The heavy run, with the words of this one."""
    words = [sys.executable, "-m", "mmaplock_bt", "run", arguments.profile, "-q"]
    words += ["-d", arguments.capture, "-o", str(folder / "result.json")]
    words += ["-o", str(folder / "report.txt"), "--format", "none"]
    for name in SELECTION:
        value = getattr(arguments, name)
        if value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    words += ["--descendants"] * arguments.descendants
    for setting in arguments.set or []:
        words += ["--set", setting]
    return words


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
