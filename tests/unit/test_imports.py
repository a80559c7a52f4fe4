"""What is imported by whom: start-up is mostly imports. Times are measured by tools/startup.py."""

import os
import re
import signal
import subprocess
import sys
from functools import partial

import pytest

MODELS = {"pydantic", "jinja2"}
SLOW = MODELS | {
    "rich",
    "yaml",
    "scipy",
    "prometheus_client",
    "elftools",
    "cxxfilt",
    "junitparser",
    "duckdb",
}
LATER = {"typing", "pathlib", "subprocess", "tempfile", "dataclasses", "json"}


def imported(*words: str, code: str = "") -> set[str]:
    """The modules that a run of Python imports."""
    argv = ["-c", code] if code else ["-m", "mmaplock_bt", *words]
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *argv],
        capture_output=True, text=True, check=True, env=os.environ | {"PYTHONNOUSERSITE": "1"},
    )  # fmt: skip
    return set(re.findall(r"^import time:.*\| *(\S+)$", done.stderr, re.MULTILINE))


FIRST = """
import os, sys
before = set(sys.modules)
class Interrupting:
    def find_spec(self, name, *_):
        if name == "mmaplock_bt.cli":
            print(*sorted(set(sys.modules) - before), flush=True)
            os.kill(os.getpid(), 2)
sys.meta_path.insert(0, Interrupting())
from mmaplock_bt.__main__ import main
main()
"""


def test_ctrl_c_while_modules_are_imported_is_the_end():
    """And what comes before that is little: the rest is Python's own start."""
    done = subprocess.run(
        [sys.executable, "-c", FIRST],
        capture_output=True, text=True, check=False,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")
    assert set(done.stdout.split()) <= {"_signal", "mmaplock_bt", "mmaplock_bt.__main__"}


def test_help_imports_only_the_parser():
    found = imported("--help")
    assert "argparse" in found
    assert not (SLOW | LATER) & found
    assert not [name for name in found if name.startswith("mmaplock_bt.commands")]


def test_list_reads_descriptions_and_no_models():
    found = imported("list")
    assert "yaml" in found
    assert not (MODELS | {"typing", "dataclasses", "importlib.resources"}) & found


def test_the_head_start_is_there_before_anything_slow():
    """What it imports, bpftrace waits for."""
    code = "from mmaplock_bt import __main__, cli; cli._head_start(['run']).end()"
    found = imported(code=code)
    assert "mmaplock_bt.tracing.head_start" in found
    assert not (SLOW | LATER | {"argparse", "mmaplock_bt.command_line"}) & found


@pytest.mark.parametrize(
    "unused",
    ["concurrent.futures", "mmaplock_bt.commands.trap", "rich", "elftools", "cxxfilt", "textual"],
)
def test_a_run_does_not_import_what_it_may_not_need(unused):
    found = imported(code="import mmaplock_bt.commands.run")
    assert "mmaplock_bt.commands.run" in found and unused not in found
