"""Escape sequences: what the option says, then what the environment says, then the terminal."""

import io

import pytest

from mmaplock_bt.commands import colors
from mmaplock_bt.judging import series
from tests.builders import gate, run


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


@pytest.mark.parametrize(
    ("choice", "variables", "terminal", "pipe"),
    [
        ("auto", {}, True, False),
        ("auto", {"TERM": "dumb"}, False, False),
        ("auto", {"NO_COLOR": "1"}, False, False),
        ("auto", {"NO_COLOR": ""}, True, False),
        ("auto", {"FORCE_COLOR": "1"}, True, True),
        ("auto", {"FORCE_COLOR": "1", "TERM": "dumb"}, True, True),
        ("auto", {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
        ("always", {"NO_COLOR": "1", "TERM": "dumb"}, True, True),
        ("never", {"FORCE_COLOR": "1"}, False, False),
    ],
)
def test_what_decides(monkeypatch, choice, variables, terminal, pipe):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert colors.wanted(choice, Terminal()) is terminal
    assert colors.wanted(choice, io.StringIO()) is pipe


def test_the_reports_hear_it(cli, tmp_path, monkeypatch):
    """With NO_COLOR there is no escape sequence at all, bold neither."""
    series.save(series.with_verdicts(run(5), [gate("hold.p99 < 1ns")]), tmp_path)
    for words in (("report",), ("gate",), ("report", "--format", "gates")):
        line = (*words, str(tmp_path / "run-001.json"))
        assert "\x1b[1m" in cli(*line, "--color", "always").stdout
        assert "\x1b" not in cli(*line).stdout, "no terminal"
        monkeypatch.setenv("FORCE_COLOR", "1")
        assert "\x1b[1m" in cli(*line).stdout
        monkeypatch.setenv("NO_COLOR", "1")
        assert "\x1b" not in cli(*line).stdout
        monkeypatch.delenv("NO_COLOR")
        assert "\x1b" not in cli(*line, "--color", "never").stdout
        monkeypatch.delenv("FORCE_COLOR")
