"""The distribution's own commands."""

import subprocess

import pytest

from mmaplock_bt.machine import distro


@pytest.mark.parametrize(
    ("release", "candidate", "install", "upgrade"),
    [
        ({"ID": "debian"}, "0.17.0-1", "apt-get install bpftrace", "mmdebstrap"),
        ({"ID": "debian"}, "", "apt-get install bpftrace", "mmdebstrap"),
        ({"ID": "ubuntu"}, "0.20.2-1", "apt-get install bpftrace", "apt-get install bpftrace"),
        ({"ID": "x", "ID_LIKE": "ubuntu debian"}, "1.0", "apt-get install", "apt-get install"),
        ({"ID": "x", "ID_LIKE": "ubuntu debian"}, "", "apt-get install", "curl -f"),
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
