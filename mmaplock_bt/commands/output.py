"""Where a command's text goes: standard output by --format, every -o FILE, a folder."""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mmaplock_bt import files as places
from mmaplock_bt import person, renderers, resources, standard_streams
from mmaplock_bt.commands import colors
from mmaplock_bt.errors import UsageError
from mmaplock_bt.judging.series import Series
from mmaplock_bt.renderers.markdown import LIMIT_BYTES, shortened
from mmaplock_bt.renderers.page import parts

STDOUT = "-"


@dataclass(frozen=True)
class Outputs:
    """What -o and --format ask for: files as (format, path), a folder of runs, stdout's format.

    A path of the format FOLDER is that of a folder for a page.
    """

    files: list[tuple[str, str]]
    folder: Path | None
    shown: str
    detail: int = 0  # of reports for people: 0 to 2
    force: bool = False
    color: bool = False


def wanted(arguments: argparse.Namespace, *, keeps_runs: bool = False) -> Outputs:
    """Reads -o and --format, before anything is traced.

    Raises UsageError for what cannot be written, for a library that is missing, or for more than
    one folder: of runs where they are kept, else of a page.
    """
    found = [renderers.for_file(written) for written in arguments.output]
    folders = [Path(path) for name, path in found if name == renderers.FOLDER]
    if len(folders) > 1:
        raise UsageError(f"-o {folders[-1]}/ is a second folder: one is enough")
    files = [one for one in found if not (keeps_runs and one[0] == renderers.FOLDER)]
    renderers.check_libraries({*(name for name, _ in files), arguments.format})
    new = [path for one in files for path in _places(*one)]
    raw = getattr(arguments, "save_raw", None)
    if raw == STDOUT:
        raise UsageError("--save-raw -: standard output is for the report; give a file's name")
    if [path for _, path in files].count(STDOUT) > 1:
        raise UsageError("-o - would write standard output twice: once is enough")
    places.check([*new, *([raw] if raw else [])], force=arguments.force)
    return Outputs(
        files,
        folders[0] if folders and keeps_runs else None,
        arguments.format,
        getattr(arguments, "verbose", 0),
        arguments.force,
        colors.wanted(arguments.color, sys.stdout),
    )


def _places(name: str, path: str) -> list[str]:
    """The files that an output writes anew, as far as they can be there already."""
    if name == renderers.FOLDER:
        return [f"{path}/{one}" for one in parts.NAMES] if resources.is_folder(path) else []
    return [] if path == STDOUT or _is_summary(path) else [path]


@contextmanager
def judged(code: int) -> Iterator[None]:
    """What cannot be written in the block is told, and a gate's exit code stays what it is."""
    try:
        yield
    except UsageError as error:
        error.exit_code = code or error.exit_code
        raise


def deliver(outputs: Outputs, rendered: Callable[[str, bool, int | None], str | bytes]) -> None:
    """Writes `rendered(format, color, width)` to every file and to stdout.

    The width is None where no terminal has one: in a file and in a pipe.

    A file that fails keeps nothing else from being written; UsageError is raised at the end.
    """
    failed = []

    def text(name: str, color: bool, width: int | None) -> str | bytes:
        return renderers.harmless(rendered(name, color, width), name, color=color)

    for name, path in outputs.files:
        try:
            _write(name, path, text(name, False, None), force=outputs.force)
        except UsageError as error:
            failed.append(str(error))
    if outputs.shown != "none":
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        _show(text(outputs.shown, outputs.color, width))
    if lacking := standard_streams.failure():
        failed.append(f"cannot write standard output: {lacking}")
    if failed:
        raise UsageError("; ".join(failed))


def deliver_series(outputs: Outputs, series: Series) -> None:
    """Writes a series to every file and to stdout, as deliver()."""

    def text(name: str, color: bool, width: int | None) -> str | bytes:
        return renderers.rendered(series, name, color=color, detail=outputs.detail, width=width)

    deliver(outputs, text)


def _show(text: str | bytes) -> None:
    if isinstance(text, bytes) and sys.stdout.isatty():
        raise UsageError("this format is no text: write it to a file (-o), or into a pipe")
    standard_streams.show(text)


def _write(name: str, path: str, text: str | bytes, *, force: bool) -> None:
    if path == STDOUT:
        _show(text)
        return
    try:
        if name == renderers.FOLDER and isinstance(text, str):
            _write_page(Path(path), text, force=force)
        elif _is_summary(path) and isinstance(text, str):
            _append(Path(path), text)
        else:
            places.write(path, text, force=force)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def _write_page(folder: Path, text: str, *, force: bool) -> None:
    places.folder(folder)
    for name, part in parts.folder(text).items():
        places.write(str(folder / name), part, force=force)


def _is_summary(path: str) -> bool:
    """Whether it is the summary of GitHub's step."""
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    return bool(summary) and Path(path).absolute() == Path(summary or "").absolute()


def _append(path: Path, text: str) -> None:
    """Others write to it too, and GitHub drops the whole of it beyond its limit."""
    with person.acting(), path.open("a", encoding="utf-8") as file:
        before = file.tell()
        gap = "\n" if before else ""
        file.write(shortened(gap + text, LIMIT_BYTES - before))


def dump(value: object) -> None:
    """Prints a value as JSON."""
    print(json.dumps(value, indent=1))
