"""compare: what changed between two series of runs, and whether it is allowed; needs no root.

BASE and NEW are result files or folders of repeated runs. `~` marks a change that is not shown:
within the tolerance, or perhaps chance.
"""

import argparse

from mmaplock_bt import renderers
from mmaplock_bt.commands import gate, output
from mmaplock_bt.errors import UsageError
from mmaplock_bt.judging import comparison, series, verdicts
from mmaplock_bt.judging.comparison import Comparison, Rules
from mmaplock_bt.renderers import changes
from mmaplock_bt.spec import tolerances
from mmaplock_bt.spec.outputs import Outputs
from mmaplock_bt.spec.tolerances import Condition

PAGES = ("html", renderers.FOLDER)


def main(arguments: argparse.Namespace) -> int:
    """Compares two series, writes the outcome, returns the exit code of --fail-on."""
    outputs = output.wanted(arguments)
    found = made(arguments)
    code = verdicts.exit_code(found.verdicts)
    with output.judged(code):
        output.deliver(outputs, lambda name, color, _width: _rendered(found, name, color))
    return code


def made(arguments: argparse.Namespace) -> Comparison:
    """Returns the comparison that the command line asks for. Raises UsageError, Inconclusive."""
    if arguments.base == arguments.new == series.STDIN:
        raise UsageError("standard input holds one series: give the other one as a file or folder")
    base, new = series.load(arguments.base), series.load(arguments.new)
    return comparison.compare(
        base,
        new,
        _rules(arguments),
        _conditions(arguments, base[0].declarations),
        allow_different=arguments.allow_different,
    )


def _rules(arguments: argparse.Namespace) -> Rules:
    if not 0 < arguments.alpha < 1:
        raise UsageError(f"--alpha {arguments.alpha}: a probability between 0 and 1")
    try:
        tolerance = tolerances.parse(arguments.tolerance)
    except UsageError as error:
        raise UsageError(f"--tolerance: {error}") from error
    return Rules(arguments.alpha, arguments.min_runs, tolerance)


def _conditions(arguments: argparse.Namespace, outputs: Outputs) -> list[Condition]:
    """Raises UsageError that lists every fault."""
    faults: list[str] = []
    found = gate.parsed(
        "--fail-on",
        arguments.fail_on,
        lambda text: tolerances.parse_condition(text, outputs),
        faults,
    )
    if faults:
        raise UsageError(*faults)
    return found


def _rendered(found: Comparison, name: str, color: bool) -> str | bytes:
    """Some formats show the comparison itself, the others its verdicts."""
    if name in PAGES:
        return renderers.named("diff")(found, beside=name == renderers.FOLDER)
    own = changes.FORMATS.get(name)
    return own(found, color) if own else renderers.rendered(found.series, name, color=color)
