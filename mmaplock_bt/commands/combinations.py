"""Options that say something only beside others, or never beside them: none is ignored silently."""

import argparse
import shlex
from collections.abc import Iterator

from mmaplock_bt import BPFTRACE, person
from mmaplock_bt.errors import UsageError

_OF_A_TRAP = ("capture", "captures", "max_disk", "keep", "trap_dir")
# What a trap has no use for, beside what commands/trap refuses with a reason of its own.
_NOT_OF_A_TRAP = (
    *("format", "judge", "min_samples", "add", "force", "verbose", "color", "live", "refresh"),
    "engine",
)


def check(arguments: argparse.Namespace) -> None:
    """Raises UsageError that names every option that would be ignored, and what it wants.

    Before that, for a bpftrace that sudo was handed in the environment.
    """
    _check_bpftrace(arguments)
    faults = list(dict.fromkeys(_faults(arguments, vars(arguments))))
    if faults:
        raise UsageError("; ".join(faults))


def _check_bpftrace(arguments: argparse.Namespace) -> None:
    chosen = getattr(arguments, "bpftrace", None)
    if chosen and "bpftrace" not in arguments.given and person.is_handed_on(BPFTRACE):
        raise UsageError(
            f"{BPFTRACE} is not heard under sudo: name what root is to run by "
            f"--bpftrace {shlex.quote(chosen[:200])}"
        )


def _faults(arguments: argparse.Namespace, all_: dict[str, object]) -> Iterator[str]:
    given = arguments.given
    if all_.get("engine") == "tracefs" and "bpftrace" in given:
        yield "--engine tracefs takes no --bpftrace: leave one of them out"
    if arguments.verb == "run":
        yield from _of_run(arguments)
    elif arguments.command:
        yield f"{arguments.verb} takes no COMMAND after --"
    if "min_samples" in given and not arguments.gate:
        yield (
            "--min-samples is what every --gate wants: give --gate, or write min_samples beside "
            "the gate in its file"
        )
    written = [*arguments.output, all_.get("save_raw")] if "output" in all_ else []
    if all_.get("force") and not any(written):
        yield "--force writes over files: give one with -o"


def _of_run(arguments: argparse.Namespace) -> Iterator[str]:
    given, command = arguments.given, arguments.command
    if arguments.trap:
        for name in _NOT_OF_A_TRAP:
            is_a_switch = name in ("add", "force", "verbose", "live")
            if name in given or (is_a_switch and getattr(arguments, name)):
                yield f"--trap takes no {_option(name)}"
        return
    for name in _OF_A_TRAP:
        if name in given:
            yield f"{_option(name)} is about a trap: give --trap, like --trap 'hold > 50ms'"
    yield from _of_live(arguments)
    if "judge" in given and arguments.repeat == 1:
        yield "--judge is about several runs: give --repeat N"
    if arguments.system_wide and not command:
        yield "--system-wide is about a COMMAND: without one every process is traced anyway"
    if command and not arguments.system_wide:
        yield from _of_another(arguments)
    if command and arguments.descendants and not (arguments.pid or arguments.actor_pid):
        yield "--descendants is about -p or --actor-pid: a COMMAND's are traced anyway"


def _of_another(arguments: argparse.Namespace) -> Iterator[str]:
    """What is there before the COMMAND; only a cgroup may be one that it enters."""
    others = (("pid", "-p"), ("container", "--container"), ("unit", "--unit"))
    if named := " and ".join(option for name, option in others if getattr(arguments, name)):
        yield (
            f"with a COMMAND only its processes are traced, and {named} names another: give "
            "--system-wide to trace that one while the COMMAND runs"
        )


def _of_live(arguments: argparse.Namespace) -> Iterator[str]:
    if arguments.live and arguments.quiet:
        yield "--live shows what --quiet keeps still: give one of them"
    if "refresh" in arguments.given and not arguments.live:
        yield "--refresh is about --live: give that, too"


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
