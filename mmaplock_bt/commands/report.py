"""Show a saved result, or analyse a saved raw stream again; needs no root."""

import argparse
import json
from pathlib import Path

from pydantic import ValidationError

from mmaplock_bt import analysis, renderers, stream
from mmaplock_bt.commands import run
from mmaplock_bt.errors import UsageError
from mmaplock_bt.result import Result, from_json


def main(arguments: argparse.Namespace) -> int:
    writers = [(path, renderers.for_file(path)) for path in arguments.output]
    result = load(arguments.result)
    for path, render in writers:
        run._write(path, render(result))
    run.show(result, arguments.format)
    return 0


def load(path: str) -> Result:
    """A result file or a raw stream, told apart by their first line. Raises UsageError."""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    try:
        if text.startswith(f'{{"type": "{stream.HEADER}"'):
            return analysis.analyse(text.split("\n"))
        return from_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UsageError(f"{path} is no result file: {where}: {first['msg']}") from error
    except (UsageError, json.JSONDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
