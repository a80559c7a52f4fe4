"""Repeated runs of one profile, just made or read again, and what they say together."""

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from mmaplock_bt.analysis import analyse
from mmaplock_bt.errors import UsageError
from mmaplock_bt.judging import verdicts
from mmaplock_bt.judging.verdicts import Judge
from mmaplock_bt.result.model import OutputData, Result, Verdict, from_json, to_json
from mmaplock_bt.spec import gates
from mmaplock_bt.spec.columns import STANDARD
from mmaplock_bt.spec.declaration import CustomField, Output
from mmaplock_bt.spec.gates import Gate, Level, Source
from mmaplock_bt.stream import collect


@dataclass(frozen=True)
class Series:
    """At least one run; `verdicts` are over all of them, `judge` says how."""

    runs: tuple[Result, ...]
    verdicts: tuple[Verdict, ...] = ()
    judge: Judge = "median"

    @property
    def last(self) -> Result:
        return self.runs[-1]

    @property
    def how(self) -> str:
        """'median of 3 runs'; empty for one."""
        return f"{self.judge} of {len(self.runs)} runs" if len(self.runs) > 1 else ""

    @property
    def is_complete(self) -> bool:
        return all(run.loss.complete for run in self.runs)


def judged(
    runs: Sequence[Result], wanted: Sequence[Gate], how: Judge = "median", asked: int = 1
) -> Series:
    """The runs with the gates' verdicts; `asked` is how many runs there should be."""
    asked = max(asked, len(runs))
    said = [verdicts.over_runs(gate, runs, how, asked) for gate in wanted]
    return Series(tuple(runs), tuple(said), how)


def load(path: str) -> list[Result]:
    """The runs in a folder in the order of their names, or the one in a file.

    Raises UsageError.
    """
    folder = Path(path)
    if not folder.is_dir():
        return [load_run(path)]
    found = [load_run(str(file)) for file in sorted(folder.glob("*.json"))]
    if not found:
        raise UsageError(f"{path}: no result file (*.json) in this folder")
    return found


def load_run(path: str) -> Result:
    """A result file or a raw stream, told apart by their first line. Raises UsageError."""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    try:
        if text.startswith(f'{{"type": "{collect.HEADER}"'):
            return analyse.analyse(text.split("\n"))
        return from_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UsageError(f"{path} is no result file: {where}: {first['msg']}") from error
    except (UsageError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from error


def gates_in(result: Result) -> list[Gate]:
    """The gates that a saved result was judged by. Raises UsageError."""
    outputs = outputs_of(result)
    return [_gate(verdict, outputs) for verdict in result.verdicts]


def _gate(said: Verdict, outputs: dict[str, Output]) -> Gate:
    level: Level = said.level
    place = None
    if said.file is not None:
        place = Source(said.file, said.line or 1, said.column or 1)
    return gates.parse(said.gate, outputs, level=level, min_samples=said.min_samples, source=place)


def outputs_of(result: Result) -> dict[str, Output]:
    """What a saved result's gates can name, without the template that made it."""
    return {name: _declared(data) for name, data in result.outputs.items()}


def _declared(data: OutputData) -> Output:
    names: list[str | CustomField] = [
        name if name in STANDARD else CustomField(name=name) for name in data.keys
    ]
    is_events = data.kind == "events"
    return Output.model_construct(
        kind=data.kind,
        title=data.title,
        unit=data.unit,
        fields=names if is_events else [],
        keys=[] if is_events else names,
    )


def save(result: Result, folder: Path) -> Path:
    """One more run's file, behind those that are there. Raises UsageError."""
    paths = (folder / f"run-{turn:03}.json" for turn in itertools.count(1))
    path = next(path for path in paths if not path.exists())
    try:
        path.write_text(to_json(result), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    return path


def with_verdicts(result: Result, wanted: Sequence[Gate]) -> Result:
    return dataclasses.replace(result, verdicts=[verdicts.judge(gate, result) for gate in wanted])
