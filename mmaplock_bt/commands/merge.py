"""merge: result files of many hosts as one table; needs no root, but duckdb.

A file that cannot be read is told and counted, the others are merged.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from mmaplock_bt import files, standard_streams
from mmaplock_bt.commands import colors, output
from mmaplock_bt.commands.output import Outputs
from mmaplock_bt.errors import UsageError
from mmaplock_bt.fleet import folders, windows
from mmaplock_bt.fleet.folders import Place
from mmaplock_bt.fleet.merged import merge
from mmaplock_bt.fleet.table import Table
from mmaplock_bt.judging import series
from mmaplock_bt.renderers import hosts
from mmaplock_bt.result.model import Result
from mmaplock_bt.units import counted

FORMATS = {".parquet": "parquet", ".json": "json", ".txt": "table"}
TOLD = 20  # files that were not read, on standard error


def main(arguments: argparse.Namespace) -> int:
    """Merges all result files, writes the outcome. Raises UsageError where none can be read."""
    outputs = _wanted(arguments)
    with closing(Table()) as table:
        places = folders.found(arguments.folders)
        skipped = list(_read(places, table))
        _tell(skipped, len(places))
        notes = [*_left(skipped, len(places)), *folders.ambiguous(places)]
        fleet = merge(table, arguments.rank, notes)

        def text(name: str, color: bool, width: int | None) -> str | bytes:
            if name == "parquet":
                return table.parquet()
            if name == "json":
                return hosts.to_json(fleet, skipped)
            given = {} if width is None else {"width": width}
            return hosts.render(fleet, color=color, detail=outputs.detail, **given)

        output.deliver(outputs, text)
    return 0


def _wanted(arguments: argparse.Namespace) -> Outputs:
    for path in arguments.output:
        if Path(path).suffix not in FORMATS:
            raise UsageError(f"-o {path}: the suffix chooses the format: {', '.join(FORMATS)}")
    files.check(arguments.output, force=arguments.force)
    return Outputs(
        [(FORMATS[Path(path).suffix], path) for path in arguments.output],
        None,
        "json" if arguments.json else "table",
        arguments.verbose,
        arguments.force,
        colors.wanted(arguments.color, sys.stdout),
    )


def _read(places: Sequence[Place], table: Table) -> Iterator[str]:
    """Adds every window once; yields a sentence for each file that is not read."""
    seen: dict[tuple[object, ...], Path] = {}
    for place in places:
        try:
            rows = list(_rows(place, seen))
        except UsageError as error:
            told = str(error)
            yield told if told.startswith(f"{place.path}: ") else f"{place.path}: {told}"
            continue
        for row in rows:
            table.add(row)


def _rows(place: Place, seen: dict[tuple[object, ...], Path]) -> Iterator[windows.Row]:
    if place.fault:
        raise UsageError(place.fault)
    for result in series.load(str(place.path)):
        row = windows.row(result, place.host, str(place.path))
        first = seen.setdefault(_identity(result, place.host), place.path)
        if first != place.path:
            raise UsageError(f"the same window as {first}, and counted once")
        yield row


def _identity(result: Result, host: str) -> tuple[object, ...]:
    """Windows of one host that began, lasted and asked alike are one."""
    return host, result.window.start, result.window.duration_ns, result.profile.sha256


def _tell(skipped: Sequence[str], of: int) -> None:
    for sentence in skipped[:TOLD]:
        standard_streams.tell(sentence)
    if len(skipped) > TOLD:
        standard_streams.tell(f"... and {len(skipped) - TOLD:,} files more that were not read")
    if len(skipped) == of:
        raise UsageError(f"none of {counted(of, 'file')} can be merged")


def _left(skipped: Sequence[str], of: int) -> Iterator[str]:
    if skipped:
        verb = "was" if len(skipped) == 1 else "were"
        yield f"{len(skipped):,} of {counted(of, 'file')} {verb} not read"
