"""show, check, script: what can be done with a profile without tracing."""

import argparse
import re
import sys
from typing import Any

from mmaplock_bt import standard_streams
from mmaplock_bt.commands import gate
from mmaplock_bt.commands.output import dump
from mmaplock_bt.commands.run import chosen_profile
from mmaplock_bt.errors import TargetError, UsageError
from mmaplock_bt.escaping import lines, safe
from mmaplock_bt.machine import inventory
from mmaplock_bt.result import saved
from mmaplock_bt.script import reach
from mmaplock_bt.script.reach import Reach
from mmaplock_bt.script.render import render
from mmaplock_bt.spec import profile
from mmaplock_bt.spec.columns import Column
from mmaplock_bt.spec.profile import Profile
from mmaplock_bt.units import counted, format_ns

_PLACE = re.compile(r"(.+?):(\d+):(\d+): (.*)")


def show_main(arguments: argparse.Namespace) -> int:
    """Prints a profile's filter, parameters, outputs and gates."""
    chosen = profile.load(arguments.profile)
    if arguments.json:
        dump(_told(chosen))
        return 0
    _say(f"{chosen.name}: {chosen.description}", "", f"template: {chosen.template.name}")
    _say(f"filter:   {_filter(chosen)}", f"map keys: {chosen.map_keys}")
    if chosen.duration_ns is not None:
        _say(f"duration: {format_ns(chosen.duration_ns)}")
    _show_params(chosen)
    _say("", "outputs")
    for name, output in chosen.template.declaration.outputs.items():
        more = f" ({output.help})" if output.help else ""
        _say(f"  {name}  {output.kind}: {output.title}{more}")
        _say(f"    {', '.join(_described(f) for f in output.columns)}")
    for one in chosen.gates:
        _say(f"gate: {one.text} ({one.level}, from {counted(one.min_samples, 'sample')} on)")
    return 0


def _say(*texts: str) -> None:
    """Prints a line each: what stands in a profile or a template is text from outside."""
    for text in texts:
        print(lines(safe(text)))


def check_main(arguments: argparse.Namespace) -> int:
    """Checks a profile and the gates given with it.

    Raises UsageError with every fault; with --json they are printed, and 2 is returned.
    """
    try:
        chosen, reaches = _checked(arguments)
    except UsageError as error:
        if not arguments.json:
            raise
        dump({"schema": 1, "valid": False, "faults": list(map(_fault, error.sentences))})
        return error.exit_code
    template, gates = chosen.template.name, len(chosen.gates)
    if arguments.json:
        told = [{"call": one.call, "line": one.line or None, "what": one.what} for one in reaches]
        valid = {"schema": 1, "valid": True, "faults": [], "template": template, "gates": gates}
        dump(valid | {"reach": told})
        return 0
    count = f", {counted(gates, 'gate')}" if gates else ""
    _say(f"{arguments.file}: a valid profile of the template {template}{count}")
    for one in reaches:
        place = f"{chosen.template.file}:{one.line}" if one.line else "the rendered script"
        _say(f"{place}: {one.call} {one.what}")
    return 0


def _checked(arguments: argparse.Namespace) -> tuple[Profile, list[Reach]]:
    chosen = profile.load(arguments.file)
    more = gate.given(arguments, chosen.template.declaration.outputs)
    chosen = profile.with_gates(chosen, more)
    script = render(chosen, inventory.offline())
    return chosen, reach.found(chosen.template, script.text)


def _fault(line: str) -> dict[str, str | int | None]:
    """A fault's sentence, with its place where it has one."""
    found = _PLACE.fullmatch(line)
    if found is None:
        return {"file": None, "line": None, "column": None, "message": line}
    return {
        "file": found[1], "line": int(found[2]), "column": int(found[3]), "message": found[4]
    }  # fmt: skip


def script_main(arguments: argparse.Namespace) -> int:
    """Prints a profile as a bpftrace program for use by hand."""
    try:
        machine = inventory.probe(arguments.bpftrace)
    except TargetError:
        # A script can be written without root, for another machine; then it assumes the least.
        machine = inventory.offline()
    text = render(chosen_profile(arguments), machine, by_hand=True).text
    # As it is for bpftrace; a terminal is another matter.
    standard_streams.show(lines(text) if sys.stdout.isatty() else text)
    return 0


def _filter(chosen: Profile) -> str:
    """As the options of a run: 'owner pid 5 or 6, mode write'."""
    told = chosen.filter.model_dump(mode="json", exclude_defaults=True)
    found = [] if "mode" not in told else [f"mode {told.pop('mode')}"]
    for side, values in told.items():
        for name, value in values.items():
            several = " or ".join(map(str, value if isinstance(value, list) else [value]))
            found.append(f"{side} {name}{'' if value is True else f' {several}'}")
    return ", ".join(found) or "none"


def _told(chosen: Profile) -> dict[str, Any]:
    """What `show` prints, for programs; times in ns."""
    declared = chosen.template.declaration
    params = {
        name: {
            "value": chosen.params[name], "type": one.type, "default": one.parse(one.default),
            "help": one.help,
        }
        for name, one in declared.params.items()
    }  # fmt: skip
    gates = [
        {"gate": one.text, "level": one.level, "min_samples": one.min_samples}
        for one in chosen.gates
    ]
    return {
        "schema": 1,
        "name": chosen.name,
        "description": chosen.description,
        "template": chosen.template.name,
        "filter": chosen.filter.model_dump(mode="json", exclude_defaults=True),
        "duration_ns": chosen.duration_ns,
        "locks": chosen.locks or declared.locks[0],
        "sample": chosen.sample,
        "max_overhead_ppm": chosen.max_overhead_ppm,
        "map_keys": chosen.map_keys,
        "params": params,
        "outputs": saved.declared(declared.outputs),
        "gates": gates,
    }


def _show_params(chosen: Profile) -> None:
    declared = chosen.template.declaration.params
    if declared:
        _say("", "parameters (--set NAME=VALUE)")
    for name, param in declared.items():
        value = chosen.params[name]
        shown = format_ns(value) if param.type == "duration" else str(value)
        _say(f"  {name} = {shown}  {param.help}")


def _described(column: Column) -> str:
    return f"{column.name}={'|'.join(column.labels)}" if column.labels else column.name
