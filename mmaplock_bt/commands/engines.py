"""Which engine traces: bpftrace where it works, else tracefs, by what is found by trying."""

import argparse

from mmaplock_bt.errors import TargetError
from mmaplock_bt.machine import features, inventory, raising
from mmaplock_bt.machine.inventory import TRACEFS_ENGINE, Machine
from mmaplock_bt.script.render import render
from mmaplock_bt.spec.profile import Profile
from mmaplock_bt.tracefs import instance
from mmaplock_bt.tracing import terminal

ENGINES = ("auto", "bpftrace", TRACEFS_ENGINE)
ASKED = "it was asked for"
_WITHOUT = {
    "live": "--live reads bpftrace's maps",
    "sudo": "--sudo raises bpftrace alone",
}


def machine(arguments: argparse.Namespace, chosen: Profile) -> Machine:
    """Returns this machine for the engine that is asked for, or that works. Raises TargetError."""
    if arguments.engine == TRACEFS_ENGINE:
        found = by_tracefs(ASKED)
        check(arguments, chosen, found)
        return found
    try:
        return inventory.probe(arguments.bpftrace)
    except TargetError as error:
        if arguments.engine != "auto" or "bpftrace" in arguments.given:
            raise
        return _instead(arguments, chosen, error)


def by_tracefs(why: str) -> Machine:
    """Returns this machine for tracefs, where an instance can be made. Raises TargetError."""
    found = inventory.by_tracefs(why)
    instance.check(inventory.tracefs())
    return found


def check(arguments: argparse.Namespace, chosen: Profile, found: Machine) -> None:
    """Raises TargetError for what this engine cannot do, UsageError for a wrong template."""
    for name, why in _WITHOUT.items():
        if getattr(arguments, name) or (name == "sudo" and raising.words()):
            raise TargetError(f"{why}, which the tracefs engine has not", f"leave out --{name}")
    render(chosen, found)


def after(
    arguments: argparse.Namespace, chosen: Profile, before: Machine, refused: Exception
) -> Machine | None:
    """Returns the machine for tracefs where bpftrace, which was remembered to work, does no more.

    None where it works, and its refusal is about the script.
    """
    if arguments.engine != "auto" or before.facts.get("engine") or "bpftrace" in arguments.given:
        return None
    if features.outcomes(before.path, fresh=True)["mm_owner"]:
        return None
    found = f"bpftrace works no more ({str(refused).partition(':')[0]})"
    return _instead(arguments, chosen, TargetError(found, "mmaplock-bt doctor --fresh"))


def _instead(arguments: argparse.Namespace, chosen: Profile, error: TargetError) -> Machine:
    """The machine for tracefs. Raises `error` where that cannot trace at all."""
    try:
        found = by_tracefs(error.found)
    except TargetError:
        raise error from None
    try:
        check(arguments, chosen, found)
    except TargetError as refusal:
        raise TargetError(f"{error.found}, and {refusal.found}", error.mend) from refusal
    terminal.say(f"note: engine: {TRACEFS_ENGINE}, because {error.found}")
    return found
