"""Repeated runs of one profile, just made or read from files, and what they say together."""

import dataclasses
import io
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmaplock_bt import files, given_file, resources
from mmaplock_bt.analysis.analyse import analyse_lines
from mmaplock_bt.errors import UsageError
from mmaplock_bt.judging import verdicts
from mmaplock_bt.judging.verdicts import Judge
from mmaplock_bt.result import embedded
from mmaplock_bt.result.model import Result, Verdict
from mmaplock_bt.result.saved import from_json, to_json
from mmaplock_bt.spec import gates
from mmaplock_bt.spec.gates import Gate, Level, Source
from mmaplock_bt.spec.outputs import Outputs
from mmaplock_bt.stream import recording

STDIN, STDIN_NAME = "-", "standard input"
LARGEST = 64 << 20  # bytes of a file, but for pages; three outputs of 20,000 events have 45 million
LARGEST_PAGE = 96 << 20
LARGEST_FOREIGN = 16 << 20  # with letters beyond ASCII: one may make each take four times as much
RUNS = 1000  # of a folder


@dataclass(frozen=True)
class Series:
    """One run or more; `verdicts` are over all of them, `judge` says how."""

    runs: tuple[Result, ...]
    verdicts: tuple[Verdict, ...] = ()
    judge: Judge = "median"

    @property
    def last(self) -> Result:
        """The run that was made last."""
        return self.runs[-1]

    @property
    def how(self) -> str:
        """How verdicts were made, like 'median of 3 runs'; empty for one run."""
        return f"{self.judge} of {len(self.runs)} runs" if len(self.runs) > 1 else ""

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing from any run."""
        return all(run.loss.complete for run in self.runs)


def judged(
    runs: Sequence[Result], wanted: Sequence[Gate], how: Judge = "median", asked: int = 1
) -> Series:
    """Returns the runs with the gates' verdicts over all of them.

    `how` is median, worst or every; `asked` is how many runs there should have been.
    """
    asked = max(asked, len(runs))
    said = [verdicts.over_runs(gate, runs, how, asked) for gate in wanted]
    return Series(tuple(runs), tuple(said), how)


def load(path: str) -> list[Result]:
    """Reads the runs of a folder, in the order of their names, or those of a file.

    A file is a result file, a raw stream or an HTML page, a folder has result files or such a page;
    '-' is standard input. Raises UsageError.
    """
    if "\0" in path:
        raise UsageError(f"cannot read {path}: no file has such a name")
    folder = Path(path)
    if not resources.is_folder(folder):
        return _load_file(path)
    found = list(itertools.islice(folder.glob("*.json"), RUNS + 1))
    if not found and resources.is_file(folder / embedded.INDEX):
        return _load_file(str(folder / embedded.INDEX))
    if not found:
        raise UsageError(f"{path}: no result file (*.json), nor a page, in this folder")
    if len(found) > RUNS:
        raise UsageError(f"{path}: more than {RUNS:,} result files: compare parts of them")
    return [run for file in sorted(found) for run in _load_file(str(file))]


def _load_file(path: str) -> list[Result]:
    """Their first lines tell what files hold."""
    name = STDIN_NAME if path == STDIN else path
    try:
        with given_file.opened(path, STDIN) as file:
            return _read(file)
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror}") from error
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from error


def _read(file: io.BufferedReader) -> list[Result]:
    """Reads a raw stream line by line: it may be larger than the memory."""
    start = file.read(len(recording.MARK))
    if start == recording.MARK.encode():
        lines = recording.lines(given_file.as_text(file))
        return [analyse_lines(itertools.chain([recording.MARK + next(lines, "")], lines))]
    if not start:
        raise UsageError("no result file: not JSON: there is nothing in it")
    if not start.lstrip().startswith((b"{", b"<")):  # /dev/zero, a core, a log: no more is read
        raise UsageError("no result file: not JSON that is an object, nor a raw stream")
    if start.startswith(embedded.MARK.encode()):
        # The results in it are ASCII, and of the rest nothing is read.
        return embedded.read(_whole(start, file, LARGEST_PAGE).decode("latin-1"))
    data = _whole(start, file, LARGEST)
    if len(data) > LARGEST_FOREIGN and not data.isascii():
        most = LARGEST_FOREIGN >> 20
        raise UsageError(f"no result file: longer than {most} MiB, with letters beyond ASCII")
    text = data.decode("utf-8", "surrogateescape")
    del data  # what is made of the text takes four times as much
    return [from_json(text)]


def _whole(start: bytes, file: io.BufferedReader, most: int) -> bytes:
    """All of a file. Raises UsageError where it is longer."""
    data = start + file.read(most)
    if len(data) > most:
        raise UsageError(f"no result file: longer than {most >> 20} MiB")
    return data


def gates_in(result: Result) -> list[Gate]:
    """Returns the gates that a saved result was judged by. Raises UsageError."""
    outputs = result.declarations
    return [_gate(verdict, outputs) for verdict in result.verdicts]


def _gate(said: Verdict, outputs: Outputs) -> Gate:
    level: Level = said.level
    place = None
    if said.file is not None:
        place = Source(said.file, said.line or 1, said.column or 1)
    return gates.parse(said.gate, outputs, level=level, min_samples=said.min_samples, source=place)


def save(result: Result, folder: Path) -> Path:
    """Writes a run's result as the next run-NNN.json of a folder and returns its path.

    Raises UsageError.
    """
    paths = (folder / f"run-{turn:03}.json" for turn in itertools.count(1))
    path = next(path for path in paths if not os.path.lexists(path))
    try:
        files.write(str(path), to_json(result), force=False)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    return path


def with_verdicts(result: Result, wanted: Sequence[Gate]) -> Result:
    """Returns the result with the gates' verdicts on it alone."""
    return dataclasses.replace(result, verdicts=[verdicts.judge(gate, result) for gate in wanted])
