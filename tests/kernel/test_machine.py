"""What is missing on a machine is told with its mending; a strange bpftrace hangs nothing."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmaplock_bt import cli as command_line
from mmaplock_bt.command_line import default_bpftrace
from mmaplock_bt.errors import TargetError
from mmaplock_bt.machine import features, inventory
from mmaplock_bt.tracing import bpftrace

pytestmark = pytest.mark.kernel
# Answers as a bpftrace that takes every trial; then does as the test says.
WILLING = """\
case "$*" in
  --version) echo 'bpftrace v0.17.0';;
  --help) ;;
  *' -e '*) echo '"min": 4294967296 [1';;
  *) {then};;
esac
"""
STREAM = 'while [ "$1" != -o ]; do shift; done; f=$2;'
ALWAYS = "echo 'bpftrace v0.11.3'; {}"


def refused(path: str, monkeypatch: pytest.MonkeyPatch) -> TargetError:
    monkeypatch.setattr(features, "TIMEOUT_S", 0.5)
    began = time.monotonic()
    with pytest.raises(TargetError) as caught:
        inventory.probe(path)
    assert time.monotonic() - began < 5
    return caught.value


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "says 'nothing'"),
        ("echo hello", "says 'hello'"),
        ("kill -SEGV $$", "(killed by SIGSEGV)"),
        ("sleep 60 & wait", "does not answer"),
        ("exec yes $(printf '\\033[31mno')", "prints without end: ?[31mno"),
        (ALWAYS.format("[ $1 = --version ]"), "install bpftrace 0.17 or newer"),
        (
            ALWAYS.format("[ $1 = --version ] || kill -SEGV $$"),
            "does not run here (killed by SIGSEGV",
        ),
        (ALWAYS.format("case $* in *mm_struct*) exit 1; esac"), "cannot read mm->owner"),
        (
            ALWAYS.format("[ $1 = --version ] || { echo busy; sleep 60 & wait; }"),
            "-f does not answer within 0 s; it said bpftrace v0.11.3 / busy",
        ),
    ],
    ids=[
        "silent",
        "another program",
        "crashes",
        "hangs",
        "garbage",
        "too old for -f",
        "crashes at work",
        "too old",
        "hangs compiling",
    ],
)
@pytest.mark.usefixtures("kernel")
def test_a_strange_bpftrace_is_a_sentence(fake, monkeypatch, body, said):
    assert said in str(refused(fake(body), monkeypatch))


@pytest.mark.parametrize(
    ("then", "said"),
    [
        ("exit 0", "ended before its probes were live (status 0)"),
        ("echo Segmentation; kill -SEGV $$", "Segmentation"),
        ("echo compiling...; exec sleep 60", "were not live after"),
        ("while :; do echo garbage; sleep 0.01; done", "garbage"),
        ("exec yes rubbish", "rubbish"),
        (f"{STREAM} echo nonsense > $f; exit 3", "(status 3): \n  nonsense"),
        (f"{STREAM} exec yes nonsense > $f", "without end: \n  nonsense"),
    ],
    ids=["ends at once", "crashes", "hangs", "garbage", "flood", "no JSON", "flood of no JSON"],
)
@pytest.mark.usefixtures("kernel")
def test_a_strange_run_is_4_in_a_bounded_time(fake, monkeypatch, capsys, then, said):
    monkeypatch.setattr(bpftrace, "LIVE_TIMEOUT_S", 1.0)
    monkeypatch.setattr(bpftrace, "FLOOD_BYTES", 1 << 18)
    path = fake(WILLING.format(then=then))
    assert command_line.main(["run", "hold-times", "-d", "1s", "--bpftrace", path]) == 4
    told = capsys.readouterr()
    assert said in told.err and told.out == ""


@pytest.mark.parametrize(("work_s", "code"), [(60.0, 0), (0.0, 4)])
@pytest.mark.usefixtures("kernel")
def test_one_that_compiles_for_long_is_waited_for(fake, monkeypatch, work_s, code):
    """A slow machine takes minutes: what ends the wait is that nothing is done."""
    monkeypatch.setattr(bpftrace, "LIVE_TIMEOUT_S", 2.0)
    monkeypatch.setattr(bpftrace, "WORK_S", work_s)
    work = "n=0; while [ $n -lt 4999999 ]; do n=$((n + 1)); done"
    real = f'exec {default_bpftrace()} "$@"'
    path = fake(f'case "$*" in --version|--help|*" -e "*) ;; *) {work};; esac; {real}')
    assert command_line.main(["run", "hold-times", "-d", "1s", "--bpftrace", path]) == code


@pytest.mark.usefixtures("kernel")
def test_trials_are_remembered_per_binary(fake, monkeypatch):
    path = fake(WILLING.format(then="exit 1"))
    assert features.outcomes(path)["hist_bits"]
    calls = Path(path).with_suffix(".calls")
    text = Path(path).read_text()
    stat = Path(path).stat()
    assert features.outcomes(path) == features.outcomes(path)
    less = f"#!/bin/sh\necho x >> {calls}; case $* in *'hist(5, 3)'*) exit 1;; esac\n"
    Path(path).write_text(text.replace("#!/bin/sh\n", less))
    assert Path(path).stat().st_size != stat.st_size
    assert not features.outcomes(path)["hist_bits"] and features.outcomes(path)["for_loop"]
    first = calls.read_text()
    features.outcomes(path)
    assert calls.read_text() == first
    features.outcomes(path, fresh=True)
    assert len(calls.read_text()) == 2 * len(first)
    monkeypatch.setattr(features, "capabilities", lambda: 0)  # what root was told, others are not
    features.outcomes(path)
    assert len(calls.read_text()) == 3 * len(first)


CAPABILITIES = "+bpf,+perfmon,+dac_read_search,+dac_override"


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="no setpriv")
def test_capabilities_without_root(kernel, tmp_path):
    """Enough from 0.25 on; before, bpftrace itself insists on root, and that is what is said."""
    user = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    held = (f"--inh-caps={CAPABILITIES}", f"--ambient-caps={CAPABILITIES}")
    if subprocess.run([*user, *held, kernel.path, "--version"], check=False).returncode:
        pytest.skip("a wrapper that itself needs root")
    done = subprocess.run(
        [*user, *held, sys.executable, "-m", "mmaplock_bt", "run", "hold-times", "-d", "100ms"],
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode == 0:
        assert "nothing is known to be missing" in done.stdout
    else:
        assert done.returncode == 3 and done.stdout == ""
        refused = r"does not run without root \(.*root user.*\): sudo .*run hold-times"
        assert re.search(refused, done.stderr)


@pytest.mark.usefixtures("kernel")
def test_doctor_of_a_bpftrace_that_does_not_run(cli, fake, tmp_path):
    path = fake("echo 'bpftrace v0.16.0'; [ $1 = --version ]")
    done = cli("doctor", "--bpftrace", path, env={"XDG_CACHE_HOME": str(tmp_path)})
    assert done.returncode == 3
    assert "missing trials: bpftrace 0.16.0 does not run here (status 1: bpftrace v" in done.stdout


def test_doctor_here(cli, kernel):
    done = cli("doctor", "--json")
    told = json.loads(done.stdout)
    assert done.returncode == 0 and told["can_trace"]
    states = {check["name"]: check["state"] for check in told["checks"]}
    assert states["mm_owner"] == states["tracepoints"] == "ok"
    lacking = [check for check in told["checks"] if check["state"] != "ok"]
    assert all(check["consequence"] and check["mend"] for check in lacking)
    assert not any("newer" in c["mend"] and "no command" not in c["mend"] for c in lacking)
    plain = cli("doctor")
    assert plain.stdout.count("\nlimited") == list(states.values()).count("limited")


def test_doctor_names_everything_that_is_missing(cli, kernel):
    done = cli("doctor", "--bpftrace", "/nonexistent/bpftrace")
    assert done.returncode == 3
    assert "missing bpftrace: /nonexistent/bpftrace is not installed" in done.stdout
    assert "apt-get install bpftrace" in done.stdout and "ok      tracepoints" in done.stdout
