"""Where a command's text goes: standard output by --format, every -o FILE, a folder of runs."""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mmaplock_bt import renderers, standard_streams
from mmaplock_bt.errors import UsageError
from mmaplock_bt.judging.series import Series
from mmaplock_bt.renderers.markdown import LIMIT_BYTES, shortened

STDOUT = "-"


@dataclass(frozen=True)
class Outputs:
    """What -o and --format ask for: files as (format, path), a folder, stdout's format."""

    files: list[tuple[str, str]]
    folder: Path | None
    shown: str
    detail: int = 0  # of reports for people: 0 to 2


def wanted(arguments: argparse.Namespace, *, folders_allowed: int = 0) -> Outputs:
    """Reads -o and --format, before anything is traced.

    Raises UsageError for what cannot be written, or for more folders than are allowed.
    """
    found = [renderers.for_file(written) for written in arguments.output]
    folders = [Path(path) for name, path in found if name == renderers.FOLDER]
    if len(folders) > folders_allowed:
        allowed = "one folder is enough" if folders_allowed else f"{arguments.verb} makes no runs"
        raise UsageError(f"-o {folders[-1]}/ would keep each run's result: {allowed}")
    files = [(name, path) for name, path in found if name != renderers.FOLDER]
    for _, path in files:
        if path != STDOUT:
            _check_place(path)
    detail = getattr(arguments, "verbose", 0)
    return Outputs(files, folders[0] if folders else None, arguments.format, detail)


def _check_place(path: str) -> None:
    """Raises UsageError for a file that cannot be written, before anything is traced for it."""
    folder = Path(path).parent
    try:
        folder.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"cannot write {path}: there is no folder {folder}") from error
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    place = path if os.access(path, os.F_OK) else folder
    if not os.access(place, os.W_OK):
        raise UsageError(f"cannot write {path}: {place} is not writable for this user")


def deliver(outputs: Outputs, rendered: Callable[[str, bool], str]) -> None:
    """Writes `rendered(format, color)` to every file and to stdout.

    A file that fails keeps nothing else from being written; UsageError is raised at the end.
    """
    failed = []
    for name, path in outputs.files:
        try:
            _write(path, rendered(name, False))
        except UsageError as error:
            failed.append(str(error))
    if outputs.shown != "none":
        sys.stdout.write(rendered(outputs.shown, sys.stdout.isatty()))
    if lacking := standard_streams.failure():
        failed.append(f"cannot write standard output: {lacking}")
    if failed:
        raise UsageError("; ".join(failed))


def deliver_series(outputs: Outputs, series: Series) -> None:
    """Writes a series to every file and to stdout, as deliver()."""
    columns = shutil.get_terminal_size().columns

    def text(name: str, color: bool) -> str:
        # A file has no width, nor has a pipe.
        width = columns if color else None
        return renderers.rendered(series, name, color=color, detail=outputs.detail, width=width)

    deliver(outputs, text)


def _write(path: str, text: str) -> None:
    if path == STDOUT:
        sys.stdout.write(text)
        return
    try:
        if _is_summary(path):
            _append(Path(path), text)
        else:
            Path(path).write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def _is_summary(path: str) -> bool:
    """Whether it is the summary of GitHub's step."""
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    return bool(summary) and Path(path).absolute() == Path(summary or "").absolute()


def _append(path: Path, text: str) -> None:
    """Others write to it too, and GitHub drops the whole of it beyond its limit."""
    before = path.stat().st_size if path.exists() else 0
    gap = "\n" if before else ""
    with path.open("a", encoding="utf-8") as file:
        file.write(shortened(gap + text, LIMIT_BYTES - before))


def dump(value: object) -> None:
    """Prints a value as JSON."""
    print(json.dumps(value, indent=1))
