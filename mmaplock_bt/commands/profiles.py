"""list, show, check, script, schema: everything about a profile that needs no tracing."""

import argparse

from mmaplock_bt.commands import gate
from mmaplock_bt.commands.output import dump
from mmaplock_bt.commands.run import chosen_profile
from mmaplock_bt.errors import TargetError
from mmaplock_bt.machine import inventory
from mmaplock_bt.result import model
from mmaplock_bt.script import render
from mmaplock_bt.spec import budget, declaration, profile
from mmaplock_bt.spec.columns import Field
from mmaplock_bt.spec.profile import Profile
from mmaplock_bt.units import format_ns


def list_main(_arguments: argparse.Namespace) -> int:
    width = max(len(name) for name in profile.names())
    for name in profile.names():
        print(f"{name:<{width}}  {profile.load(name).description}")
    return 0


def show_main(arguments: argparse.Namespace) -> int:
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
    chosen = profile.load(arguments.file)
    more = gate.given(arguments, chosen.template.declaration.outputs)
    chosen = profile.with_gates(chosen, more)
    render.render(chosen, inventory.offline())
    count = f", {len(chosen.gates)} gates" if chosen.gates else ""
    print(f"{arguments.file}: a valid profile of the template {chosen.template.name}{count}")
    return 0


def script_main(arguments: argparse.Namespace) -> int:
    try:
        machine = inventory.probe(arguments.bpftrace)
    except TargetError:
        machine = inventory.offline()
    print(render.render(chosen_profile(arguments), machine).text, end="")
    return 0


def schema_main(arguments: argparse.Namespace) -> int:
    models = {
        "profile": profile.ProfileFile.model_json_schema,
        "budget": budget.BudgetFile.model_json_schema,
        "template": declaration.Declaration.model_json_schema,
        "result": model.json_schema,
    }
    dump(models[arguments.what]())
    return 0


def _show_params(chosen: Profile) -> None:
    declared = chosen.template.declaration.params
    if declared:
        print("\nparameters (--set NAME=VALUE)")
    for name, param in declared.items():
        value = chosen.params[name]
        shown = format_ns(value) if param.type == "duration" else str(value)
        print(f"  {name} = {shown}  {param.help}")


def _described(column: Field) -> str:
    return f"{column.name}={'|'.join(column.labels)}" if column.labels else column.name
