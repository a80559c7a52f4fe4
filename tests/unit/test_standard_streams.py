"""Standard output takes any character, and nothing that it leads to makes a run fail."""

import os
import subprocess
import sys

import pytest

from mmaplock_bt import standard_streams
from tests.builders import DATA

SHOWN = DATA / "bpftrace-0.17.0_linux-6.18_munmaps.ndjson"


def shown(*words: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    """`report` of a captured stream, in a process of its own."""
    argv = [sys.executable, "-m", "mmaplock_bt", *(words or ("report", str(SHOWN), "-vv"))]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.run(argv, check=False, timeout=60, **streams | options)


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "iso-8859-1"},
        {"PYTHONIOENCODING": "ascii:strict"},
    ],
    ids=["ascii", "C", "latin-1", "strict"],
)
def test_what_an_encoding_lacks_is_replaced_by_what_looks_like_it(variables):
    done = shown(env=os.environ | variables)
    assert done.returncode == 0 and done.stderr == b""
    full = shown(env=os.environ | {"PYTHONIOENCODING": "utf-8"}).stdout.decode()
    assert "–" in full and "█" in full
    text = done.stdout.decode("iso-8859-1")
    assert text.replace("µ", "u").splitlines()[3:5] == [
        line.replace("µ", "u").replace("–", "-") for line in full.splitlines()[3:5]
    ]
    assert "#" in text and "?" not in text


def test_what_looks_like_nothing_is_escaped():
    error = UnicodeEncodeError("ascii", "a≥é漢\udcff", 1, 5, "")
    assert standard_streams.lookalike(error) == (">=e\\u6f22\\udcff", 5)


def test_a_full_disk_is_one_sentence():
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = shown(stdout=full)
    assert done.returncode == 2
    assert done.stderr == b"mmaplock-bt: cannot write standard output: No space left on device\n"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_nobody_who_reads_changes_no_exit_code(stream):
    reader, writer = os.pipe()
    os.close(reader)
    gate = ("gate", str(SHOWN), "--gate", "hold.count < 1")
    done = shown(*gate, **{stream: writer})
    os.close(writer)
    assert done.returncode == 1


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_may_be_closed(closed):
    argv = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "mmaplock_bt", "list"]
    done = subprocess.run(argv, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0 and done.stderr == b""
    assert done.stdout.startswith(b"blame") != (">&-" in closed.replace("2>", ""))
