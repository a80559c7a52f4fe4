"""The agent's trap: a wait or hold over a limit has a profile captured, by a run of its own.

Each capture is bounded by its length; all of them by their number, their bytes and a pause.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from mmaplock_bt import files
from mmaplock_bt.agent.config import Trap
from mmaplock_bt.errors import UsageError
from mmaplock_bt.spec import profile
from mmaplock_bt.tracing import capture_run
from mmaplock_bt.tracing.capture_run import used
from mmaplock_bt.units import format_ns, how_ended

REASON = "reason.txt"
CAPTURED = "result.json"
GRACE_S = 15.0  # for one that runs when the agent ends


Longest = dict[tuple[str, str | None], int]  # ns by 'wait' or 'hold' and mode; None: it lasts


@dataclass(frozen=True)
class Example:
    """What sprang the trap last: the capture's id, wait or hold, its mode, when, how long.

    While it lasts its mode is None.
    """

    capture: str
    kind: str
    mode: str | None
    ns: int
    time_s: float


class Captures:
    """Springs and looks after captures; `count` are those that were made.

    Raises UsageError where nothing can be written into the folder. `say` prints a sentence. Without
    a trap nothing springs.
    """

    def __init__(self, trap: Trap | None, bpftrace: str, say: Callable[[str], None]) -> None:
        self._bpftrace = bpftrace
        self._say = say
        self._running: subprocess.Popen[bytes] | None = None
        self._place = Path()
        self._rests_until_ns = 0
        self.count = 0
        self.last: Example | None = None
        check(trap)
        self.follow(trap)

    def follow(self, trap: Trap | None) -> None:
        """Is sprung by this one from now on; a capture that runs goes on."""
        self._trap = trap
        self._has_told = False

    def look(self, longest: Longest) -> None:
        """Springs where one of these is over its limit."""
        self._reap()
        if (trap := self._trap) is None:
            return
        for (kind, mode), ns in longest.items():
            limit_ns = trap.wait if kind == "wait" else trap.hold
            if not limit_ns or ns < limit_ns:
                continue
            if self._is_free(trap):
                self._spring(trap, kind, mode, ns)
            elif self.last and (self.last.kind, self.last.mode) == (kind, None) and mode:
                self.last = replace(self.last, mode=mode, ns=ns, time_s=time.time())  # it is over

    def close(self) -> None:
        """Lets a capture that runs finish, within a grace."""
        if self._running is not None:
            with suppress(subprocess.TimeoutExpired):
                self._running.wait(GRACE_S)
            self._running.terminate()
            self._running.wait()
            self._reap()

    def _is_free(self, trap: Trap) -> bool:
        """Whether another one may be made now; that there is no more room is said once."""
        if self._running is not None or time.monotonic_ns() < self._rests_until_ns:
            return False
        folder = Path(trap.folder)
        kept = sum(one.is_dir() for one in folder.iterdir()) if folder.is_dir() else 0
        is_full = kept >= trap.captures or used(folder) > trap.disk
        if is_full and not self._has_told:
            self._say(f"no more captures: {folder} holds as many, or as much, as it may")
        self._has_told = is_full
        return not is_full

    def _spring(self, trap: Trap, kind: str, mode: str | None, ns: int) -> None:
        self._rests_until_ns = time.monotonic_ns() + trap.pause
        name = f"{time.strftime('%Y%m%dT%H%M%S')}-{os.urandom(2).hex()}"
        self._place = Path(trap.folder) / name
        why = f"a {kind} {'lasted' if mode else 'lasts for'} {format_ns(ns)}"
        try:
            files.folder(self._place)
            files.write(str(self._place / REASON), why + "\n", force=False)
            self._running = self._begun(trap)
        except (OSError, UsageError) as error:
            self._say(f"{why}: cannot capture it: {error}")
            shutil.rmtree(self._place, ignore_errors=True)
            return
        self.last = Example(name, kind, mode, ns, time.time())
        self._say(f"{why}: capturing {trap.profile} into {self._place}")

    def _begun(self, trap: Trap) -> "subprocess.Popen[bytes]":
        length = f"{trap.length // 10**6}ms"
        words = capture_run.words(trap.profile, length, self._place)
        words += ["--bpftrace", self._bpftrace, "--user", "root"]
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def _reap(self) -> None:
        if self._running is None or self._running.poll() is None:
            return
        status, self._running = self._running.returncode, None
        if (self._place / CAPTURED).is_file():
            self.count += 1
            return
        self._say(f"the capture into {self._place} failed ({how_ended(status)})")
        with suppress(OSError):  # it holds nothing but why it was begun
            shutil.rmtree(self._place)


def check(trap: Trap | None) -> None:
    """Raises UsageError for a profile that there is not, or a folder that cannot be written."""
    if trap is not None:
        profile.load(trap.profile)
        files.folder(Path(trap.folder))
        files.check([str(Path(trap.folder) / REASON)], force=True)
