"""The script by itself, as a bpftrace tool: it says what it does, and what its header shows."""

import re
import signal
import subprocess

import pytest

from mmaplock_bt import workload
from mmaplock_bt.script.render import render
from mmaplock_bt.spec import profile
from tests.kernel.processes import assert_accepted

pytestmark = pytest.mark.kernel
CASES = [
    ("foreign-holds", ("foreign", 3, 100)),
    ("writer-starvation", ("smaps", 11, 1024)),
]


def by_hand(name, machine, folder, *argv):
    """What it prints while a workload runs, from when its probes are live."""
    path = folder / "x.bt"
    path.write_text(render(profile.load(name), machine, by_hand=True).text)
    with subprocess.Popen(
        ["/bin/sh", "-c", f"exec {machine.path} -q {path} $$"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as tool:  # fmt: skip
        lines = []
        for line in tool.stdout:
            lines.append(line.rstrip())
            if line.startswith("Tracing"):
                break
        subprocess.run(workload.command(*argv), check=True, stdout=subprocess.DEVNULL)
        tool.send_signal(signal.SIGINT)
        return lines + [line.rstrip() for line in tool.stdout]


def shapes(lines):
    """Of records their names, of maps their names and keys' number; times and figures go."""
    found = set()
    for line in lines:
        words = re.sub(r"^\d\d:\d\d:\d\d ", "TIME ", line).split()
        if words[:1] == ["TIME"]:
            found.add(" ".join(words[:3]))
        elif line.startswith("@"):
            found.add(re.sub(r"\[.*", "", line.split(":")[0]) + str(line.count(",")))
        elif line.startswith(("Tracing", "Which", "Who", "How")):
            found.add(line)
    return found


def assert_shown(name, lines):
    sample = profile.load(name).template.declaration.sample.splitlines()
    assert shapes(sample) and shapes(sample) <= shapes(lines), lines[:40]


@pytest.mark.parametrize(("name", "argv"), CASES, ids=[name for name, _ in CASES])
def test_it_prints_what_its_header_shows(kernel, tmp_path, name, argv):
    assert_shown(name, by_hand(name, kernel, tmp_path, *argv))


def test_its_counts_are_the_workloads(kernel, tmp_path):
    """1,009 munmaps downgrade at least so often; a histogram has one picture for each mode."""
    lines = by_hand("hold-times", kernel, tmp_path, "munmaps", 1009)
    assert_shown("hold-times", lines)
    text = "\n".join(lines)
    assert int(re.search(r"@book_downgrades: (\d+)", text)[1]) >= 1009
    assert text.count("@hold_us[write]") == text.count("@hold_us[read]") == 1


@pytest.mark.parametrize("by_hand", [False, True], ids=["for the tool", "by hand"])
def test_every_script_is_accepted_by_bpftrace(kernel, tmp_path, by_hand):
    for name in profile.names():
        path = tmp_path / f"{name}.bt"
        path.write_text(render(profile.load(name), kernel, by_hand=by_hand).text)
        assert_accepted(kernel, path)
