"""gate: judges saved results, a file or a folder of repeated runs; needs no root.

Without --gate or --budget the gates are those by which the runs were judged when they were made.
"""

import argparse
from collections.abc import Callable
from typing import TypeVar

from mmaplock_bt.commands import output
from mmaplock_bt.errors import UsageError
from mmaplock_bt.judging import series, verdicts
from mmaplock_bt.spec import budget, gates
from mmaplock_bt.spec.gates import Gate, GateFault
from mmaplock_bt.spec.outputs import Outputs

Made = TypeVar("Made")


def main(arguments: argparse.Namespace) -> int:
    """Judges saved runs, writes the verdicts, returns their exit code.

    Raises UsageError for runs that have no gates where none is given.
    """
    outputs = output.wanted(arguments)
    runs = series.load(arguments.result)
    wanted = given(arguments, runs[0].declarations) or tuple(series.gates_in(runs[0]))
    if not wanted:
        raise UsageError(f"{arguments.result} was made without gates: give --gate or --budget")
    if "judge" in arguments.given and len(runs) == 1:
        raise UsageError(f"--judge is about several runs: {arguments.result} holds one")
    made = series.judged(
        [series.with_verdicts(run, wanted) for run in runs], wanted, arguments.judge, len(runs)
    )
    code = verdicts.exit_code(made.verdicts)
    with output.judged(code):
        output.deliver_series(outputs, made)
    return code


def given(arguments: argparse.Namespace, outputs: Outputs) -> tuple[Gate, ...]:
    """Returns the gates of every --budget and --gate. Raises UsageError with every fault."""
    found: list[Gate] = []
    faults: list[str] = []
    for path in arguments.budget:
        try:
            found += budget.load(path, outputs)
        except UsageError as error:
            faults += error.sentences
    found += parsed(
        "--gate",
        arguments.gate,
        lambda text: gates.parse(text, outputs, min_samples=arguments.min_samples),
        faults,
    )
    if faults:
        raise UsageError(*faults)
    return tuple(found)


def parsed(
    option: str, texts: list[str], parse: Callable[[str], Made], faults: list[str]
) -> list[Made]:
    """Returns what `parse` makes of an option's texts; adds faults, each with its column."""
    made: list[Made] = []
    for text in texts:
        try:
            made.append(parse(text))
        except GateFault as fault:
            faults.append(f"{option}:1:{fault.offset + 1}: {fault} (in '{text}')")
    return made
