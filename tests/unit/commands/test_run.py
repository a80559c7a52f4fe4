"""How a run ends."""

from dataclasses import replace

import pytest

import mmaplock_bt.commands.run as run_command
from mmaplock_bt.commands.tracing import Traced
from mmaplock_bt.errors import BpftraceError, Interrupted
from mmaplock_bt.judging import series
from mmaplock_bt.result.model import Command
from tests.builders import gate, run


@pytest.mark.parametrize(
    ("text", "status", "died", "code"),
    [
        ("hold.p99 < 1s", 0, False, 0),
        ("hold.p99 < 1s", 7, False, 6),
        ("hold.p99 < 1ns", 7, False, 1),
        ("hold{mode=read}.p99 < 1s", 7, False, 5),
        ("hold{mode=read}.p99 < 1s", 7, True, 5),
        ("warn: hold.p99 < 1ns", 0, False, 0),
        ("warn: hold.p99 < 1ns", 7, True, 4),
    ],
)
def test_the_exit_code_of_a_run(text, status, died, code, capsys):
    """A gate's before bpftrace's death, that before the command's."""
    base = run(5)
    death = "bpftrace ended" if died else None
    ran = replace(base, window=replace(base.window, command=Command(["x"], status), failure=death))
    try:
        assert run_command.ended(series.judged([ran], [gate(text)])) == code
    except BpftraceError as error:
        assert str(error) == death and code == error.exit_code
    assert ("bpftrace ended" in capsys.readouterr().err) == (died and code == 5)


@pytest.mark.parametrize(
    ("ended_by", "wanted", "code"),
    [("command", [], 6), ("interrupt", [], 0), ("interrupt", ["hold.p99 < 1s"], 5)],
)
def test_a_command_that_ctrl_c_ended_has_not_failed(ended_by, wanted, code):
    """Ctrl-C goes to the whole foreground group; gates say that the command was cut short."""
    base = run(5)
    window = replace(base.window, command=Command(["x"], -2), ended_by=ended_by)
    made = series.judged([replace(base, window=window)], [gate(text) for text in wanted])
    assert run_command.ended(made) == code


@pytest.fixture
def traces(monkeypatch, cli):
    """Runs three windows; each is what the test gives, or raises. Returns how it ended."""
    monkeypatch.setattr(run_command.engines, "machine", lambda *_: None)

    def three(windows, folder, *words):
        left = list(windows)

        def next_one(*_):
            found = left.pop(0)
            if isinstance(found, BaseException):
                raise found
            ended_by, interrupted = found
            base = run(5)
            made = replace(base, window=replace(base.window, ended_by=ended_by))
            return Traced(made, interrupted, "")

        monkeypatch.setattr(run_command, "trace", next_one)
        told = ("-d", "1s", "--repeat", "3", "-o", f"{folder}/", *words)
        return cli("run", "long-holds", *told)

    return three


WHOLE, LATE, SHORT = ("duration", False), ("duration", True), ("interrupt", True)


@pytest.mark.parametrize(
    ("windows", "code", "kept"),
    [
        ((WHOLE, WHOLE, WHOLE), 0, 3),
        ((WHOLE, SHORT), 130, 1),
        ((WHOLE, LATE), 130, 2),
        ((WHOLE, WHOLE, LATE), 0, 3),
        ((WHOLE, Interrupted("twice")), 130, 1),
        ((WHOLE, KeyboardInterrupt()), 130, 1),
        ((SHORT,), 130, 1),
        ((Interrupted("early"),), 130, 0),
    ],
)
def test_an_interrupted_series_is_told_and_its_runs_are_kept(traces, tmp_path, windows, code, kept):
    """One that was cut short is no run of it, unless there is no other."""
    folder = tmp_path / "runs"
    done = traces(windows, folder)
    assert done.returncode == code, done.stderr
    assert len(list(folder.glob("*.json"))) == kept
    told = f"interrupted: {kept} run{' is' if kept == 1 else 's are'} kept in {folder}"
    assert (told in done.stderr) == (code == 130 and kept > 0)
    assert bool(done.stdout) == (kept > 0)


def test_a_gate_decides_over_an_interrupted_series(traces, tmp_path):
    """Evidence first; without it, runs that were not made are inconclusive."""
    windows = (WHOLE, LATE)
    failing = ("--gate", "hold.max < 1ns", "--judge", "median")
    assert traces(windows, tmp_path / "1", *failing).returncode == 1
    passing = ("--gate", "hold.max < 1s", "--judge", "worst")
    assert traces(windows, tmp_path / "2", *passing).returncode == 5
    told = traces(windows, tmp_path / "3", "--gate", "hold.max < 1s")
    assert told.returncode == 130 and "pass" in told.stdout
