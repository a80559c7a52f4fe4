"""GitHub workflow commands: the findings, then an annotation for each gate that did not pass."""

import os
from collections.abc import Sequence
from pathlib import Path

from mmaplock_bt.escaping import safe
from mmaplock_bt.judging.series import Series
from mmaplock_bt.judging.verdicts import ORDER
from mmaplock_bt.renderers import findings
from mmaplock_bt.renderers.wording import told
from mmaplock_bt.result.model import Verdict
from mmaplock_bt.spec.gates import Level

SHOWN = 10  # GitHub shows so many of a kind in each step
_KINDS: dict[Level, str] = {"error": "error", "warn": "warning"}
_DATA = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY = _DATA | {":": "%3A", ",": "%2C"}


def render(series: Series) -> str:
    """Renders the findings as notices, then the verdicts, those of level error first.

    A verdict stands where its gate was written.
    """
    worst = findings.worst(series.runs)
    lines = [
        command("notice", {"title": "mmaplock-bt"}, safe(text))
        for text in findings.sentences(worst)
    ]
    lines += [line for level in _KINDS for line in _of_level(series.verdicts, level)]
    return "".join(f"{line}\n" for line in lines)


def command(kind: str, properties: dict[str, object], message: str) -> str:
    """Returns `::KIND name=value,...::MESSAGE`, each part escaped in its own way."""
    pairs = (f"{name}={escaped(str(value), _PROPERTY)}" for name, value in properties.items())
    return f"::{kind} {','.join(pairs)}::{escaped(message, _DATA)}"


def escaped(text: str, table: dict[str, str]) -> str:
    """Replaces the characters that a table lists."""
    return "".join(table.get(character, character) for character in text)


def _of_level(verdicts: Sequence[Verdict], level: Level) -> list[str]:
    """The worst first; where there are too many, the last line counts the others."""
    unmet = [said for said in verdicts if said.level == level and said.outcome != "pass"]
    unmet.sort(key=lambda said: ORDER.index(said.outcome))
    shown = unmet if len(unmet) <= SHOWN else unmet[: SHOWN - 1]
    lines = [_annotation(said) for said in shown]
    if left := len(unmet) - len(shown):
        sentence = f"{left} more gates did not pass: the summary (format markdown) has all of them"
        lines.append(command(_KINDS[level], {"title": "mmaplock-bt"}, sentence))
    return lines


def _annotation(said: Verdict) -> str:
    properties = _place(said) | {"title": safe(said.gate)}
    return command(_KINDS[said.level], properties, safe(told(said)))


def _place(said: Verdict) -> dict[str, object]:
    """Nothing for a gate of the command line."""
    if said.file is None:
        return {}
    place = {"file": _inside(safe(said.file)), "line": said.line, "col": said.column}
    return {name: value for name, value in place.items() if value is not None}


def _inside(file: str) -> str:
    """Relative to the workspace, as GitHub names files; unchanged for a file elsewhere."""
    root = Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd()).resolve()
    path = Path(file).resolve()
    return str(path.relative_to(root)) if path.is_relative_to(root) else file
