"""Show saved results, or analyse a saved raw stream again; needs no root."""

import argparse

from mmaplock_bt import series
from mmaplock_bt.commands import output
from mmaplock_bt.series import Series


def main(arguments: argparse.Namespace) -> int:
    outputs = output.wanted(arguments)
    runs = series.load(arguments.result)
    said = runs[0].verdicts if len(runs) == 1 else ()
    output.deliver_series(outputs, Series(tuple(runs), tuple(said)))
    return 0
