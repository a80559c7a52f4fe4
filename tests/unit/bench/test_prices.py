"""The command line of the bench, as far as it needs no kernel."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def prices(*words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(ROOT / "tools/prices.py"), *words]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("text", ["", "{}", "[1]"])
def test_a_broken_result_is_one_sentence(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    done = prices("show", str(path))
    assert done.returncode == 2
    assert done.stderr.startswith(f"prices: {path}: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("run", "--rounds", "0"), "'0' is no number from 1 to 999"),
        (("run", "--rounds", "many"), "'many' is no number from 1 to 999"),
        (("check", "nobody"), "no such peer: nobody"),
        (("show", "/nonexistent"), "No such file"),
    ],
)
def test_wrong_words_are_one_sentence(words, told):
    done = prices(*words)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
