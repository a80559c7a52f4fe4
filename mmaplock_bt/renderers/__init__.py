"""Result -> text. A renderer is a module with `render(result) -> str`."""

from collections.abc import Callable
from pathlib import Path

from mmaplock_bt.errors import UsageError
from mmaplock_bt.renderers import json, table
from mmaplock_bt.result import Result

BY_NAME: dict[str, Callable[[Result], str]] = {"table": table.render, "json": json.render}
BY_SUFFIX: dict[str, Callable[[Result], str]] = {".json": json.render, ".txt": table.render}


def for_file(path: str) -> Callable[[Result], str]:
    """By suffix. Raises UsageError."""
    found = BY_SUFFIX.get(Path(path).suffix)
    if found is None:
        raise UsageError(f"-o {path}: the suffix chooses the format: {', '.join(BY_SUFFIX)}")
    return found
