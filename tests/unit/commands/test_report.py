"""report: what it reads, and that it writes over nothing."""

import html
import json
import os
import re
import subprocess
import sys

import pytest

from mmaplock_bt.judging import series
from tests import story
from tests.builders import STREAM, run


def piped(text: bytes, *words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "mmaplock_bt", *words],
        input=text, capture_output=True, timeout=60, check=False,
    )  # fmt: skip


def test_standard_input_holds_a_result_or_a_raw_stream(cli, tmp_path):
    saved = series.save(run(5, 6, 7), tmp_path)
    for path in (saved, STREAM):
        done = piped(path.read_bytes(), "report", "-", "--format", "json")
        assert done.returncode == 0, done.stderr
        assert done.stdout.decode() == cli("report", str(path), "--format", "json").stdout
        assert json.loads(done.stdout)["schema"] == 2
    assert piped(saved.read_bytes(), "gate", "-", "--gate", "hold.max < 1ns").returncode == 1
    both = piped(saved.read_bytes(), "compare", str(tmp_path), "-")
    assert both.returncode == 0 and both.stdout.startswith(b"p: 1 run of ")


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b"[]", b"{}\n" * 3])
def test_wrong_standard_input_is_a_sentence(text):
    done = piped(text, "report", "-")
    assert done.returncode == 2
    assert done.stderr.startswith(b"mmaplock-bt: standard input: no r") and not done.stdout


def test_it_cannot_be_read_twice_nor_where_it_is_closed():
    assert b"holds one series" in piped(b"", "compare", "-", "-").stderr
    closed = subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m mmaplock_bt report - <&-"],
        capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ),
    )  # fmt: skip
    assert closed.returncode == 2 and "cannot read standard input" in closed.stderr


@pytest.mark.parametrize("verb", ["report", "gate", "compare"])
def test_nothing_is_written_over_without_a_word(cli, tmp_path, verb):
    saved = str(series.save(run(5), tmp_path))
    words = {"report": (saved,), "gate": (saved, "--gate", "hold.max < 1s"),
             "compare": (saved, saved)}[verb]  # fmt: skip
    there = tmp_path / "there.md"
    there.write_text("mine")
    done = cli(verb, *words, "-o", str(there))
    assert done.returncode == 2 and "is there already" in done.stderr and done.stdout == ""
    assert there.read_text() == "mine"
    assert cli(verb, *words, "-o", str(there), "--force").returncode == 0
    assert there.read_text() != "mine"


def test_a_run_writes_over_nothing_and_says_so_before_it_traces(cli, tmp_path):
    there, ran = tmp_path / "there.json", tmp_path / "ran"
    there.write_text("mine")
    for option in ("-o", "--save-raw"):
        done = cli("run", "hold-times", option, str(there), "--", "touch", str(ran))
        assert done.returncode == 2 and "give another name, or --force" in done.stderr
    one = str(tmp_path / "one.json")
    both = cli("run", "hold-times", "-o", one, "--save-raw", one, "--", "touch", str(ran))
    assert both.returncode == 2 and "written twice" in both.stderr
    assert there.read_text() == "mine" and not ran.exists()


def test_a_folder_gets_the_page_beside_what_it_loads_and_is_read_again(cli, tmp_path):
    result, folder = story.result_of("blame"), tmp_path / "new/page"
    saved = str(series.save(result, tmp_path))
    assert cli("report", saved, "-o", f"{folder}/", "--format", "none").returncode == 0
    page = html.unescape((folder / "index.html").read_text())
    assert "<style" not in page and "style-src 'self'" in page and "script-src 'self'" in page
    named = re.findall(r'(?:href|src)="([^"#]+)"', page)
    assert len(named) == 5 and {*named, "index.html"} == {one.name for one in folder.iterdir()}
    assert "report DIR/" in page and series.load(str(folder)) == [result]
    again = cli("report", saved, "-o", str(folder))
    assert again.returncode == 2 and "is there already" in again.stderr
    assert cli("report", saved, "-o", str(folder), "--force").returncode == 0
    series.save(run(5), folder)
    assert series.load(str(folder)) == [run(5)], "where there are result files these are meant"


def test_a_page_that_cannot_be_written_is_a_sentence_and_no_page(cli, tmp_path):
    saved, folder = str(series.save(run(5), tmp_path)), tmp_path / "full"
    folder.symlink_to("/dev/null")
    done = cli("report", saved, "-o", f"{folder}/")
    assert done.returncode == 2 and "there is another file of this name" in done.stderr
