"""The checklist of `doctor`."""

import gzip
import os
import platform
import shlex
import subprocess
import sys

import pytest

from mmaplock_bt.commands import doctor
from mmaplock_bt.machine import distro, inventory
from tests import between


@pytest.mark.parametrize(
    ("hz", "state", "said"),
    [(100, "limited", "threshold=10ms"), (250, "ok", "4 ms"), (300, "limited", "threshold=6ms"),
     (1000, "ok", "4 ms"), (None, "limited", "HZ unknown")],
)  # fmt: skip
def test_the_hand_off_period(monkeypatch, tmp_path, hz, state, said):
    monkeypatch.setattr(inventory, "CONFIG", tmp_path / "config.gz")
    monkeypatch.setattr(inventory.platform, "release", lambda: "none")
    if hz:
        inventory.CONFIG.write_bytes(gzip.compress(f"CONFIG_X=y\nCONFIG_HZ={hz}\n".encode()))
    check = doctor._hand_off()
    assert check.state == state and said in f"{check.found} {check.mend}"


@pytest.mark.parametrize(
    ("field", "raw", "srcu", "mend"),
    [
        ("memcg_path", True, True, None),  # up to 6.12 it is of another use
        ("memcg_id", True, False, None),
        ("memcg_id", True, True, inventory.NO_COMMAND),
        ("memcg_path", False, False, "a newer one"),
    ],
)
def test_what_is_missed_while_a_realtime_kernel_preempts_bpftrace(field, raw, srcu, mend):
    outcomes = {"rwbase": True, "raw_tracepoint": raw, "tracepoint_srcu": srcu}
    check = doctor._preemption(field, outcomes, "a newer one")
    assert (check.state, check.mend) == (("limited", mend) if mend else ("ok", ""))


UBUNTU = {"ID": "ubuntu", "ID_LIKE": "debian", "VERSION_ID": "22.04", "PRETTY_NAME": "Ubuntu 22.04"}


@pytest.fixture
def on_ubuntu(monkeypatch, fake, tmp_path):
    """doctor's checks there, by name: its os-release, its archive's bpftrace, one as stripped."""
    monkeypatch.setattr(distro.platform, "freedesktop_os_release", lambda: UBUNTU)
    monkeypatch.setattr(distro, "_candidate", lambda: "0.14.0-1")
    words = [sys.executable, "-I", between.__file__, "0.14", str(tmp_path / "none")]
    path = fake(f'exec {shlex.join(words)} "$@"')

    def checks(bpftrace=path):
        return {check.name: check for check in doctor._checks(bpftrace, fresh=True)}

    return checks


def test_on_ubuntu_22_04_a_newer_bpftrace_is_the_mend(on_ubuntu):
    trials = on_ubuntu()["trials"]
    assert trials.state == "missing"
    assert trials.found.startswith(
        "bpftrace 0.14.0 does not run here (status 255: ERROR: Could not"
    )
    assert trials.mend == f"install bpftrace 0.17 or newer: {distro.APPIMAGE}"


def test_its_words_bring_one_that_is_used(on_ubuntu, tmp_path, monkeypatch):
    """As a shell takes them; apt-get and curl are stood for, and what curl brings."""
    programs = tmp_path / "programs"
    programs.mkdir()
    shell_script(programs / "apt-get", f'echo "$*" > {tmp_path}/installed')
    newer = "#!/bin/sh\\necho bpftrace v0.27.0"
    shell_script(programs / "curl", f'[ "$1" = -fLo ] && printf "{newer}\\n" > "$2"; echo "$3"')
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    mend = on_ubuntu()["trials"].mend.partition(": ")[2]
    assert "/usr/local/bin/" in mend
    command = mend.replace("/usr/local/bin/", f"{tmp_path}/") + ' && echo "$MMAPLOCK_BPFTRACE"'
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    address, path = done.stdout.split()
    assert (tmp_path / "installed").read_text() == "install curl fuse3\n"
    release = "https://github.com/bpftrace/bpftrace/releases/download/v0.27.0"
    assert address == f"{release}/bpftrace-{platform.machine()}"
    assert on_ubuntu(path)["version"].found == "0.27.0"


def shell_script(path, body):
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
