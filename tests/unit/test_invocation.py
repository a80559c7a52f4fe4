"""The words that call the tool again work from where it runs: they are run, not compared."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mmaplock_bt import __version__, invocation


@pytest.fixture
def plainly_invoked():
    """Here the words are what is tested."""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Puts a console script into a folder of its own; sudo is one that keeps only its own PATH."""
    shims = tmp_path / "shims"
    shims.mkdir()
    _executable(shims / "sudo", f'PATH={invocation.SUDO_FINDS} exec "$@"')
    monkeypatch.setenv("PATH", f"{shims}:{os.environ['PATH']}")

    def place(folder: Path, *, by_name: bool = False) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        script = folder / "mmaplock-bt"
        _executable(script, f'exec {shlex.quote(sys.executable)} -m mmaplock_bt "$@"')
        monkeypatch.setattr(sys, "argv", ["mmaplock-bt" if by_name else str(script), "--version"])
        return script

    return place


def _executable(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def _says(line: str) -> str:
    return subprocess.run(
        ["sh", "-c", line], capture_output=True, text=True, check=True, timeout=30
    ).stdout


def _user(monkeypatch, uid: int = 1000) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)


def test_a_script_that_sudo_does_not_find_is_called_by_its_path(installed, tmp_path, monkeypatch):
    _user(monkeypatch)
    script = installed(tmp_path / "a venv" / "bin")
    assert invocation.words() == ["sudo", str(script)]
    assert __version__ in _says(invocation.command("--version"))
    assert invocation.again() == invocation.command("--version")


def test_a_script_that_sudo_finds_is_called_by_its_name(installed, tmp_path, monkeypatch):
    _user(monkeypatch)
    monkeypatch.setattr(invocation, "SUDO_FINDS", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    installed(tmp_path / "bin")
    assert invocation.words() == ["sudo", "mmaplock-bt"]


def test_another_tool_of_that_name_on_sudos_path_is_not_meant(installed, tmp_path, monkeypatch):
    _user(monkeypatch)
    monkeypatch.setattr(invocation, "SUDO_FINDS", f"{tmp_path / 'old'}:/usr/bin:/bin")
    installed(tmp_path / "old")
    script = installed(tmp_path / "new")
    assert invocation.words() == ["sudo", str(script)]


def test_root_needs_no_sudo_and_no_path_where_the_name_is_found(installed, tmp_path, monkeypatch):
    _user(monkeypatch, 0)
    script = installed(tmp_path / "bin")
    assert invocation.words() == [str(script)]
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert invocation.words() == ["mmaplock-bt"]
    installed(tmp_path / "bin", by_name=True)
    assert invocation.words() == ["mmaplock-bt"]


def test_arguments_are_quoted_for_a_shell(installed, tmp_path, monkeypatch):
    _user(monkeypatch)
    installed(tmp_path / "bin")
    words = ("run", "--gate", "hold.max < 5ms", "--comm", "it's")
    assert shlex.split(invocation.command(*words))[2:] == list(words)


def test_a_module_is_called_as_one(tmp_path, monkeypatch):
    """Where there is no console script; without the current folder's modules."""
    _user(monkeypatch, 0)
    monkeypatch.setattr(sys, "argv", [str(Path(invocation.__file__).parent / "__main__.py"), "x"])
    monkeypatch.setattr(invocation, "NAME", "no-such-script")
    monkeypatch.chdir(tmp_path)
    assert invocation.words() == [sys.executable, "-P", "-m", "mmaplock_bt"]
    assert invocation.again().endswith("-P -m mmaplock_bt x")
    (tmp_path / "argparse.py").write_text("raise SystemExit('of the current folder')")
    assert __version__ in _says(invocation.command("--version"))
    monkeypatch.chdir(Path(invocation.__file__).parent.parent)
    assert invocation.words() == [sys.executable, "-m", "mmaplock_bt"]


def test_another_process_is_repeated_as_it_was_started(monkeypatch):
    """In a test run the advice is to repeat the test run, not this tool with pytest's words."""
    _user(monkeypatch)
    monkeypatch.setattr(sys, "argv", ["/v/bin/pytest", "-k", "a b"])
    monkeypatch.setattr(sys, "orig_argv", ["python", "/v/bin/pytest", "-k", "a b"])
    repeated = shlex.split(invocation.again())
    assert repeated == ["sudo", sys.executable, "/v/bin/pytest", "-k", "a b"]
