"""Root works for the user behind sudo: files are his, and root reaches nothing by his links."""

import os
import pwd
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mmaplock_bt import files, person
from mmaplock_bt.errors import UsageError

NOBODY = pwd.getpwnam("nobody")
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")


@pytest.fixture(autouse=True)
def nobody_is_served(monkeypatch):
    """Before and after: by the attribute, as the environment of a test outlasts its fixtures."""
    monkeypatch.setattr(person, "_served", [])


@ROOT_ONLY
@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({"SUDO_UID": str(NOBODY.pw_uid)}, "nobody"),
        ({"DOAS_USER": "nobody"}, "nobody"),
        ({"SUDO_UID": "0"}, None),
        ({"SUDO_UID": "x"}, None),
        ({"SUDO_UID": "-1"}, None),
        ({"SUDO_UID": "9" * 40}, None),
        ({"DOAS_USER": "no such one"}, None),
        ({"SUDO_USER": "nobody"}, None),
        ({}, None),
    ],
)
def test_it_is_the_user_behind_sudo(monkeypatch, variables, name):
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    person.serve(None)
    whom = person.served()
    assert (whom.name if whom else None) == name
    person.serve("root")
    assert person.served() is None


@pytest.mark.parametrize("name", ["no-such-user", "", "a\0b", "x" * 5000])
def test_a_user_that_is_not_there_is_one_sentence(name):
    with pytest.raises(UsageError, match="no such user on this machine") as told:
        person.serve(name)
    assert len(str(told.value)) < 200


def test_only_root_works_for_somebody_else(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(UsageError, match="only root may"):
        person.serve("nobody")
    monkeypatch.setenv("SUDO_UID", str(NOBODY.pw_uid))
    person.serve(None)
    assert person.served() is None


@ROOT_ONLY
def test_a_block_is_his_and_after_it_all_is_as_before():
    with tempfile.TemporaryDirectory(dir="/tmp") as made:  # pytest's own are below root's alone
        _is_his(Path(made))


def _is_his(tmp_path):
    person.serve("nobody")
    before = (os.getresuid(), os.getresgid(), os.getgroups())
    tmp_path.chmod(0o777)
    with person.acting():
        with person.acting():
            assert os.geteuid() == NOBODY.pw_uid and os.getegid() == NOBODY.pw_gid
        assert os.geteuid() == NOBODY.pw_uid and 0 not in os.getgroups()
        (tmp_path / "his").write_text("x")
    assert (os.getresuid(), os.getresgid(), os.getgroups()) == before
    assert (tmp_path / "his").stat().st_uid == NOBODY.pw_uid
    with pytest.raises(ZeroDivisionError), person.acting():
        raise ZeroDivisionError
    assert os.geteuid() == 0


@ROOT_ONLY
def test_a_place_of_roots_is_not_written_to_for_him(tmp_path):
    (tmp_path / "roots").mkdir(0o700)
    (tmp_path / "link").symlink_to(tmp_path / "roots")
    person.serve("nobody")
    for place in ("roots/x", "link/x"):
        with pytest.raises(UsageError, match=r"cannot write .*\(--user root writes as root\)"):
            files.check([str(tmp_path / place)], force=False)
        with pytest.raises(PermissionError):
            files.write(str(tmp_path / place), "x", force=False)
    with pytest.raises(UsageError, match="cannot make the folder"):
        files.folder(tmp_path / "link/runs")
    assert not list((tmp_path / "roots").iterdir())


@ROOT_ONLY
def test_there_is_no_way_back():
    program = (
        "import os; from mmaplock_bt import person; person.serve('nobody'); person.become()\n"
        "print(os.getresuid(), os.getresgid())\n"
        "try: os.seteuid(0)\nexcept PermissionError: print('no')"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)  # noqa: PLW1510
    ids = ((NOBODY.pw_uid,) * 3, (NOBODY.pw_gid,) * 3)
    assert said.stdout.splitlines() == [f"{ids[0]} {ids[1]}", "no"]


def test_his_environment_has_nothing_of_roots_session():
    roots = {
        "HOME": "/root", "USER": "root", "SUDO_UID": "1", "XDG_RUNTIME_DIR": "/run/user/0",
        "CI": "true", "PATH": "/bin", "SSH_AUTH_SOCK": "/s",
    }  # fmt: skip
    assert person.Person(NOBODY).environment(roots) == {
        "HOME": NOBODY.pw_dir, "USER": "nobody", "LOGNAME": "nobody", "SHELL": NOBODY.pw_shell,
        "CI": "true", "PATH": "/bin",
    }  # fmt: skip


@ROOT_ONLY
@pytest.mark.parametrize("words", ["run -- touch ran", "selftest", "doctor"])
def test_a_bpftrace_handed_on_by_sudo_is_not_run(cli, tmp_path, monkeypatch, words):
    fake = tmp_path / "fake"
    fake.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    fake.chmod(0o755)
    monkeypatch.setenv("MMAPLOCK_BPFTRACE", str(fake))
    monkeypatch.setenv("SUDO_UID", str(NOBODY.pw_uid))
    monkeypatch.chdir(tmp_path)
    done = cli(*words.split())
    assert done.returncode == 2
    assert done.stderr.startswith("mmaplock-bt: MMAPLOCK_BPFTRACE is not heard under sudo: name")
    assert f"--bpftrace {fake}" in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "ran").exists()
    cli("doctor", "--bpftrace", str(fake))
    assert (tmp_path / "ran").exists()
