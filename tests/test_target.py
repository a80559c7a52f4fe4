"""What is missing on a machine is told with its mending; a strange bpftrace hangs nothing."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest

from mmaplock_bt import cli as command_line
from mmaplock_bt.commands import doctor
from mmaplock_bt.errors import TargetError
from mmaplock_bt.machine import distro, features, inventory
from mmaplock_bt.tracing import bpftrace

# Answers as a bpftrace that takes every trial; then does as the test says.
WILLING = """\
case "$*" in
  --version) echo 'bpftrace v0.17.0';;
  --help) ;;
  *' -e '*) echo '"min": 4294967296 [1';;
  *) {then};;
esac
"""
STREAM = "for f in $*; do case $f in */stream) break; esac; done;"
ALWAYS = "echo 'bpftrace v0.11.3'; {}"


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Makes a shell script that stands for bpftrace, with a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where refused scripts are kept

    def make(body: str) -> str:
        path = tmp_path / "bpftrace-fake"
        path.write_text(f"#!/bin/sh\n{textwrap.dedent(body)}")
        path.chmod(0o755)
        return str(path)

    return make


def refused(path: str, monkeypatch: pytest.MonkeyPatch) -> TargetError:
    monkeypatch.setattr(features, "TIMEOUT_S", 0.5)
    began = time.monotonic()
    with pytest.raises(TargetError) as caught:
        inventory.probe(path)
    assert time.monotonic() - began < 5
    return caught.value


def test_not_root_without_capabilities(monkeypatch, tmp_path):
    monkeypatch.setattr(inventory.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(features, "STATUS", tmp_path / "status")
    features.STATUS.write_text("Name:\tx\nCapEff:\t000000ffffffffff\n")
    assert "CAP_BPF" in inventory.privilege()
    features.STATUS.write_text("Name:\tx\nCapEff:\t0000007fffffffff\n")
    with pytest.raises(TargetError, match="sudo"):
        inventory.privilege()


def test_tracefs_and_tracepoints_are_looked_for(monkeypatch, tmp_path):
    monkeypatch.setattr(inventory, "TRACEFS", (tmp_path / "a", tmp_path / "b"))
    with pytest.raises(TargetError, match="mount -t tracefs"):
        inventory.tracefs()
    (tmp_path / "a/events").mkdir(parents=True)
    with pytest.raises(TargetError, match=r"5\.11"):
        inventory.tracepoints(inventory.tracefs())
    folder = tmp_path / "b/events/mmap_lock/mmap_lock_released"
    folder.mkdir(parents=True)
    assert inventory.tracepoints(inventory.tracefs()) == folder


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "says 'nothing'"),
        ("echo hello", "says 'hello'"),
        ("kill -SEGV $$", "status -11"),
        ("sleep 60 & wait", "does not answer"),
        ("exec yes $(printf '\\033[31mno')", "prints without end: ?[31mno"),
        (ALWAYS.format("[ $1 = --version ]"), "install bpftrace 0.17 or newer"),
        (ALWAYS.format("[ $1 = --version ] || kill -SEGV $$"), "does not run here (status -11"),
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
@pytest.mark.kernel
@pytest.mark.usefixtures("kernel")
def test_a_strange_bpftrace_is_a_sentence(fake, monkeypatch, body, said):
    assert said in str(refused(fake(body), monkeypatch))


@pytest.mark.parametrize(
    ("then", "said"),
    [
        ("exit 0", "refused the script (status 0)"),
        ("echo Segmentation; kill -SEGV $$", "Segmentation"),
        ("echo compiling...; exec sleep 60", "were not live after"),
        ("while :; do echo garbage; sleep 0.01; done", "garbage"),
        ("exec yes rubbish", "rubbish"),
        (f"{STREAM} echo nonsense > $f; exit 3", "(status 3): \n  nonsense"),
        (f"{STREAM} exec yes nonsense > $f", "without end: \n  nonsense"),
    ],
    ids=["ends at once", "crashes", "hangs", "garbage", "flood", "no JSON", "flood of no JSON"],
)
@pytest.mark.kernel
@pytest.mark.usefixtures("kernel")
def test_a_strange_run_is_4_in_a_bounded_time(fake, monkeypatch, capsys, then, said):
    monkeypatch.setattr(bpftrace, "LIVE_TIMEOUT_S", 1.0)
    monkeypatch.setattr(bpftrace, "FLOOD_BYTES", 1 << 18)
    path = fake(WILLING.format(then=then))
    assert command_line.main(["run", "hold-times", "-d", "1s", "--bpftrace", path]) == 4
    told = capsys.readouterr()
    assert said in told.err and told.out == ""


@pytest.mark.kernel
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


def test_a_bpftrace_that_cannot_trace_is_tried_again(fake):
    path = fake("exit 1")
    assert not any(features.outcomes(path)[name] for name in features.TRIALS)
    text = Path(path).read_text()
    stat = Path(path).stat()
    Path(path).write_text(text.replace("exit 1", "exit 0"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert features.outcomes(path)["mm_owner"]


CAPABILITIES = "+bpf,+perfmon,+dac_read_search,+dac_override"


@pytest.mark.kernel
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
        assert "loss:  none known" in done.stdout
    else:
        assert done.returncode == 3 and done.stdout == ""
        assert re.search(r"does not run without root \(.*root user.*\): sudo .*-m", done.stderr)


@pytest.mark.parametrize(
    ("release", "candidate", "install", "upgrade"),
    [
        ({"ID": "debian"}, "0.17.0-1", "apt-get install bpftrace", "mmdebstrap"),
        ({"ID": "debian"}, "", "apt-get install bpftrace", "mmdebstrap"),
        ({"ID": "ubuntu"}, "0.20.2-1", "apt-get install bpftrace", "apt-get install bpftrace"),
        ({"ID": "x", "ID_LIKE": "ubuntu debian"}, "1.0", "apt-get install", "apt-get install"),
        ({"ID": "rocky", "ID_LIKE": "rhel centos fedora"}, "", "dnf install bp", "dnf upgrade bp"),
        ({"ID": "opensuse-leap", "ID_LIKE": "suse"}, "", "zypper install", "zypper update bp"),
        ({"ID": "arch"}, "", "pacman -S bpftrace", "pacman -Syu bpftrace"),
        ({"ID": "alpine"}, "", "apk add bpftrace", "apk upgrade bpftrace"),
        ({"ID": "nobody's"}, "", "no command is known", "no command is known"),
        ({}, "", "no command is known", "no command is known"),
    ],
)
def test_each_distribution_has_its_command(monkeypatch, release, candidate, install, upgrade):
    monkeypatch.setattr(distro.platform, "freedesktop_os_release", lambda: release)
    monkeypatch.setattr(distro, "_candidate", lambda: candidate)
    assert distro.install().startswith(install)
    assert upgrade in distro.upgrade("0.20")


def test_the_bpftrace_beside_is_one_command():
    """The shell takes it apart as meant: the wrapper hands its arguments on."""
    printed = distro.BESIDE.split("&& printf", 1)[1].split(" > ")[0]
    text = subprocess.run(
        ["sh", "-c", f"printf{printed}"], capture_output=True, text=True, check=True
    ).stdout
    assert text.startswith("#!/bin/sh\ncd /opt/trixie && exec unshare -m sh -c")
    traced = text.replace("cd /opt/trixie", "cd /").replace("unshare -m", "env")
    traced = traced.replace("mount --rbind", "true").replace("chroot . bpftrace", "printf '<%s>'")
    told = subprocess.run(["sh", "-c", traced, "sh", "-e", "a  b"], capture_output=True, check=True)
    assert told.stdout == b"<-e><a  b>"


@pytest.mark.parametrize(
    ("mounts", "found"),
    [
        ("cgroup /m/cpu cgroup rw,cpu 0 0\ncgroup /m/memory cgroup rw,memory 0 0\n", "/m/memory"),
        ("cgroup /m/cpu cgroup rw,cpu 0 0\ncgroup2 {v2} cgroup2 rw 0 0\n", "{v2}"),
        ("tmpfs /m tmpfs rw 0 0\n", None),
    ],
    ids=["hybrid", "v2", "none"],
)
def test_where_memcg_ids_are_folders(monkeypatch, tmp_path, mounts, found):
    monkeypatch.setattr(inventory, "MOUNTS", tmp_path / "mounts")
    inventory.MOUNTS.write_text(mounts.format(v2=tmp_path))
    assert inventory.cgroup_hierarchy() == (found and Path(found.format(v2=tmp_path)))


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


@pytest.mark.kernel
@pytest.mark.usefixtures("kernel")
def test_doctor_of_a_bpftrace_that_does_not_run(cli, fake, tmp_path):
    path = fake("echo 'bpftrace v0.16.0'; [ $1 = --version ]")
    done = cli("doctor", "--bpftrace", path, env={"XDG_CACHE_HOME": str(tmp_path)})
    assert done.returncode == 3
    assert "missing trials: bpftrace 0.16.0 does not run here (status 1: bpftrace v" in done.stdout


@pytest.mark.kernel
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


@pytest.mark.kernel
def test_doctor_names_everything_that_is_missing(cli, kernel):
    done = cli("doctor", "--bpftrace", "/nonexistent/bpftrace")
    assert done.returncode == 3
    assert "missing bpftrace: /nonexistent/bpftrace is not installed" in done.stdout
    assert "apt-get install bpftrace" in done.stdout and "ok      tracepoints" in done.stdout
