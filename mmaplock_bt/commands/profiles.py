"""show, check, script: what can be done with a profile without tracing."""

import argparse

from mmaplock_bt.commands import gate
from mmaplock_bt.commands.run import chosen_profile
from mmaplock_bt.errors import TargetError
from mmaplock_bt.machine import inventory
from mmaplock_bt.script.render import render
from mmaplock_bt.spec import profile
from mmaplock_bt.spec.columns import Column
from mmaplock_bt.spec.profile import Profile
from mmaplock_bt.units import format_ns


def show_main(arguments: argparse.Namespace) -> int:
    """Prints a profile's filter, parameters, outputs and gates."""
    chosen = profile.load(arguments.profile)
    print(f"{chosen.name}: {chosen.description}\n\ntemplate: {chosen.template.name}")
    print(f"filter:   {chosen.filter.model_dump(exclude_defaults=True) or 'none'}")
    print(f"map keys: {chosen.map_keys}")
    if chosen.duration_ns is not None:
        print(f"duration: {format_ns(chosen.duration_ns)}")
    _show_params(chosen)
    print("\noutputs")
    for name, output in chosen.template.declaration.outputs.items():
        print(
            f"  {name}  {output.kind}: {output.title}{f' ({output.help})' if output.help else ''}"
        )
        print(f"    {', '.join(_described(f) for f in output.columns)}")
    for one in chosen.gates:
        print(f"gate: {one.text} ({one.level}, from {one.min_samples} samples on)")
    return 0


def check_main(arguments: argparse.Namespace) -> int:
    """Checks a profile and the gates given with it. Raises UsageError with every fault."""
    chosen = profile.load(arguments.file)
    more = gate.given(arguments, chosen.template.declaration.outputs)
    chosen = profile.with_gates(chosen, more)
    render(chosen, inventory.offline())
    count = f", {len(chosen.gates)} gates" if chosen.gates else ""
    print(f"{arguments.file}: a valid profile of the template {chosen.template.name}{count}")
    return 0


def script_main(arguments: argparse.Namespace) -> int:
    """Prints a profile as a bpftrace program for use by hand."""
    try:
        machine = inventory.probe(arguments.bpftrace)
    except TargetError:
        # A script can be written without root, for another machine; then it assumes the least.
        machine = inventory.offline()
    print(render(chosen_profile(arguments), machine, by_hand=True).text, end="")
    return 0


def _show_params(chosen: Profile) -> None:
    declared = chosen.template.declaration.params
    if declared:
        print("\nparameters (--set NAME=VALUE)")
    for name, param in declared.items():
        value = chosen.params[name]
        shown = format_ns(value) if param.type == "duration" else str(value)
        print(f"  {name} = {shown}  {param.help}")


def _described(column: Column) -> str:
    return f"{column.name}={'|'.join(column.labels)}" if column.labels else column.name
