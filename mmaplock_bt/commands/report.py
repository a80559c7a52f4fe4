"""report: shows saved results, or analyses a saved raw stream again; needs no root."""

import argparse

from mmaplock_bt.commands import output
from mmaplock_bt.judging import series
from mmaplock_bt.judging.series import Series
from mmaplock_bt.result.model import Result


def main(arguments: argparse.Namespace) -> int:
    """Writes saved runs in the formats that are asked for."""
    outputs = output.wanted(arguments)
    output.deliver_series(outputs, _made(series.load(arguments.result)))
    return 0


def _made(runs: list[Result]) -> Series:
    """With the verdicts that a result holds, or those of its gates over several runs."""
    if len(runs) == 1:
        return Series(tuple(runs), tuple(runs[0].verdicts))
    return series.judged(runs, series.gates_in(runs[0]))
