"""Bad input: one sentence, the contract's exit code, never a traceback."""

import tempfile

import pytest

from mmaplock_bt import cli as command_line
from mmaplock_bt import signals

CASES = [
    (2, ("run", "long-hold"), "did you mean 'long-holds'"),
    (2, ("run", "long-holds", "--set", "threshold=5"), "unit"),
    (2, ("run", "long-holds", "--set", "x=5ms"), "allowed: threshold"),
    (2, ("run", "/nonexistent/x.yaml"), "cannot read"),
    (2, ("run", "hold-times", "--", "nonexistentcmd"), "not found"),
    (2, ("run", "hold-times", "--comm", "x" * 16), "1 to 15 bytes"),
    (2, ("run", "hold-times", "-o", "x.foo"), ".json"),
    (2, ("run", "blame", "--trap", "hold > 5"), "unit"),
    (2, ("run", "blame", "--trigger", "hold > 5"), "unit"),
    (2, ("run", "blame", "--trigger", "hold < 5ms"), "hold > TIME"),
    (2, ("run", "blame", "--trigger", "hold > 5ms", "--capture", "0"), "nothing would be captured"),
    (2, ("run", "blame", "--trigger", "hold > 5ms", "--", "true"), "takes no COMMAND"),
    (2, ("run", "blame", "--trap", "hold > 5ms", "--system-wide"), "takes no --save-raw"),
    (2, ("run", "blame", "--trigger", "hold > 5ms", "--gate", "x.max < 5ms"), "no --gate"),
    (2, ("run", "hold-times", "--repeat", "3"), "needs a COMMAND or --duration"),
    (2, ("run", "hold-times", "--repeat", "0", "--", "true"), "at least 1 run"),
    (2, ("run", "hold-times", "--repeat", "2", "-o", "x.json", "--", "true"), "give a folder"),
    (2, ("run", "hold-times", "-o", "/nonexistent/x.json", "--", "true"), "there is no folder"),
    (2, ("run", "hold-times", "--add", "--", "true"), "--add needs the folder"),
    (2, ("run", "hold-times", "--mode", "read", "--gate", "hold{mode=write}.max < 5ms"), "never"),
    (2, ("run", "hold-times", "--budget", "/nonexistent"), "cannot read the budget"),
    (2, ("gate", "/nonexistent", "--gate", "x"), "cannot read"),
    (2, ("gate", "/proc/self/fdinfo"), "no result file (*.json)"),
    (2, ("compare", "/nonexistent", "/nonexistent"), "cannot read"),
    (2, ("report", "/etc/passwd", "-o", "/tmp/a/", "-o", "/tmp/b/"), "a second folder"),
    (2, ("report", "/etc/passwd"), "no result file"),
    (2, ("report", "/nonexistent"), "cannot read"),
]


@pytest.mark.parametrize(("code", "words", "said"), CASES, ids=[" ".join(c[1]) for c in CASES])
def test_one_sentence_and_the_code(cli, code, words, said):
    done = cli(*words)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert done.stdout == "" and "Traceback" not in done.stderr


def test_wrong_gates_are_told_before_anything_is_traced(cli, tmp_path):
    ran = tmp_path / "ran"
    done = cli("run", "hold-times", "--gate", "hold.p98 < 5ms", "--gate", "hold.p99 < 5",
               "--", "touch", str(ran))  # fmt: skip
    assert done.returncode == 2 and not ran.exists()
    assert "--gate:1:6: hold: 'p98' is unknown" in done.stderr
    assert "--gate:1:12: '5' is not a duration" in done.stderr


class Panic(BaseException):
    """As of an extension in Rust whose import Ctrl-C interrupts: no Exception."""


@pytest.mark.parametrize("is_interrupted", [True, False])
def test_what_is_no_exception_has_an_exit_code_of_ours(cli, monkeypatch, tmp_path, is_interrupted):
    """Python's own would be 1: a gate failed."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(signals, "is_interrupted", lambda: is_interrupted)
    monkeypatch.setattr(command_line, "_called", lambda *_: (_ for _ in ()).throw(Panic("C API")))
    done = cli("list")
    assert done.returncode == (130 if is_interrupted else 70)
    assert ("interrupted" if is_interrupted else "a fault of mmaplock-bt") in done.stderr
