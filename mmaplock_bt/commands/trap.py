"""The trap: a cheap script stays armed; a hold or wait over a limit starts a capture.

A capture is a run of its own, so that both windows open and close without each other. It is bounded
in time by its duration, the trap by the number of captures and the bytes that they take on disk.
"""

import json
import re
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmaplock_bt.analysis import analyse
from mmaplock_bt.errors import UsageError
from mmaplock_bt.result.model import Result, to_json
from mmaplock_bt.spec import declaration
from mmaplock_bt.spec.profile import Profile
from mmaplock_bt.stream import bpftrace_json, collect, identities
from mmaplock_bt.tracing import cgroup_paths, open_spans
from mmaplock_bt.units import format_ns, parse_duration

NEAR = 10  # what is remembered is at least a tenth as long as what springs the trap
PARTIES = 16384  # records of who is who that are kept
MARKS = ('"attached_probes"', *(f'"{name}|' for name in ("open", *identities.NAMES)))
_LIMIT = re.compile(r"\s*(hold|wait)\s*>=?\s*(\S.*?)\s*")
_VALUES = {"holds": ("hold", "hold_ns"), "waits": ("wait", "wait_ns")}


@dataclass(frozen=True)
class Limits:
    """Lengths in ns that spring the trap; `captures` and `disk_bytes` end it."""

    by_kind: dict[str, int]
    keep: int
    captures: int
    disk_bytes: int


def parse(texts: list[str]) -> dict[str, int]:
    """['hold > 50ms', 'wait >= 1s'] -> ns by kind. Raises UsageError."""
    found = {}
    for text in texts:
        match = _LIMIT.fullmatch(text)
        if match is None:
            raise UsageError(f"--trigger '{text}': expected hold > TIME or wait > TIME")
        found[match[1]] = parse_duration(match[2])
        if found[match[1]] < 10**6:
            raise UsageError(f"--trigger '{text}': 1ms is the shortest that makes sense")
    return found


def armed(chosen: Profile, by_kind: dict[str, int]) -> Profile:
    """The cheap profile that watches for what `chosen` shall capture, with the same filter."""
    watching = declaration.shipped("_trap")
    params = {
        name: param.parse(param.default) for name, param in watching.declaration.params.items()
    }
    older = min(by_kind.values())
    params |= by_kind | {"older": older, "near": max(1, older // NEAR)}
    return replace(
        chosen, name="trap", template=watching, params=params, gates=(),
        description=watching.declaration.question,
    )  # fmt: skip


@dataclass
class Trap:
    """Follows the armed script's lines. `capture` starts the heavy run into a folder."""

    outputs: dict[str, declaration.Output]
    limits: Limits
    folder: Path
    capture: Callable[[Path], "subprocess.Popen[bytes]"]
    say: Callable[[str], None]
    recent: deque[str] = field(default_factory=deque)
    names: deque[str] = field(default_factory=lambda: deque(maxlen=PARTIES))
    running: "subprocess.Popen[bytes] | None" = None
    sprung: list[Path] = field(default_factory=list)
    header: str = ""
    armed_ns: int = field(default_factory=time.monotonic_ns)

    def watch(self, lines: Iterator[str]) -> list[Path]:
        """The folders of the captures, when the armed window has ended or a bound is reached."""
        self.header = next(lines)
        self.recent = deque(maxlen=self.limits.keep)
        try:
            for line in lines:
                reason = self._note(line)
                if reason and self._is_free():
                    self._spring(reason)
                if self._is_full() and self._is_free():
                    break
        finally:
            self._end()
        return self.sprung

    def _note(self, line: str) -> str | None:
        """Remembers a line; says why it springs the trap, if it does."""
        if line.startswith(f'{{"type": "{open_spans.RECORD}"'):
            return self._open(line)
        if line.startswith(f'{{"type": "{cgroup_paths.RECORD}"') or any(
            mark in line for mark in MARKS
        ):
            self.names.append(line)
        for name in _VALUES:
            if f'"{name}|' in line:
                self.recent.append(line)
                return self._ended(name, line)
        return None

    def _open(self, line: str) -> str | None:
        told: dict[str, Any] = json.loads(line)
        if told.get("spans"):
            self.recent.append(line)
        for span in told.get("spans", ()):
            kind = "wait" if span["state"] == "wait" else "hold"
            age_ns = told["now_ns"] - span["since_ns"]
            if age_ns >= self.limits.by_kind.get(kind, 2**63):
                return f"a {span['mode']} {kind} is open for {format_ns(age_ns)}"
        return None

    def _ended(self, name: str, line: str) -> str | None:
        kind, column = _VALUES[name]
        for record in bpftrace_json.parse([line]):
            cut = (
                self.outputs[name].cut(record.rest)
                if isinstance(record, bpftrace_json.Printed)
                else None
            )
            if cut and int(cut[column]) >= self.limits.by_kind.get(kind, 2**63):
                return f"a {kind} lasted {format_ns(int(cut[column]))}"
        return None

    def _is_free(self) -> bool:
        """Whether no capture runs; its end arms the trap again."""
        if self.running is not None and self.running.poll() is not None:
            self.say(f"captured into {self.sprung[-1]} (status {self.running.returncode}); armed")
            self.running = None
        return self.running is None

    def _is_full(self) -> bool:
        return (
            len(self.sprung) >= self.limits.captures or used(self.folder) > self.limits.disk_bytes
        )

    def _spring(self, reason: str) -> None:
        if self._is_full():
            return
        place = self.folder / time.strftime(f"%Y%m%dT%H%M%S-{len(self.sprung) + 1}")
        place.mkdir(parents=True)
        self.sprung.append(place)
        self.running = self.capture(place)
        self.say(f"{reason}: capturing into {place}")
        (place / "before.json").write_text(to_json(self._before()), encoding="utf-8")
        (place / "trigger.txt").write_text(reason + "\n", encoding="utf-8")

    def _before(self) -> Result:
        end = collect.trailer("limit", time.monotonic_ns() - self.armed_ns, None)
        return analyse.analyse([self.header, *self.names, *self.recent, end])

    def _end(self) -> None:
        """A capture that runs when the trap ends is let finish: it is bounded by its duration."""
        if self.running is not None:
            self.running.wait()
            self._is_free()


def used(folder: Path) -> int:
    """Bytes below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
