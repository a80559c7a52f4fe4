"""The command line within this process: no interpreter is started for each call."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from mmaplock_bt import cli as command_line
from mmaplock_bt.renderers import findings
from mmaplock_bt.tracing import ending


@dataclass(frozen=True)
class Done:
    """As of a process."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Runs the command line; an exception that it lets through fails the test."""

    def run(*words: str) -> Done:
        capsys.readouterr()
        try:
            code = command_line.main(list(words))
        except SystemExit as ended:  # argparse's
            code = int(ended.code or 0)
        return Done(code, *capsys.readouterr())

    return run


@pytest.fixture(autouse=True)
def plainly_invoked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Findings name the next command as on a machine where the program is on root's PATH."""
    monkeypatch.setattr(findings.invocation, "words", lambda **_: ["mmaplock-bt"])


@pytest.fixture(autouse=True)
def not_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another test was interrupted by outlasts it, as in a process that ends then."""
    monkeypatch.setattr(ending._Signals, "noted", 0)
