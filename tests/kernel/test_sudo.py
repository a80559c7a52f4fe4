"""--sudo: of all that a run starts, bpftrace alone is root, and it never outlives the run."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kernel.results import loaded
from tests.kernel.test_less_than_root import NOBODY, copied, everybodys

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(shutil.which("sudo") is None, reason="no sudo"),
    pytest.mark.skipif(shutil.which("setpriv") is None, reason="no setpriv"),
]
RULE = Path("/etc/sudoers.d/mmaplock-bt-test")
ENDS_S = 20
assert copied  # the fixture is used below


@dataclass(frozen=True)
class User:
    """The user nobody: how the program is started, and where."""

    argv: list[str]
    environment: dict[str, str]
    home: Path

    def start(self, *words: str, **options: object) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*self.argv, "run", *words], cwd=self.home, env=self.environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
        )  # fmt: skip

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        with self.start(*words) as process:
            out, err = process.communicate(timeout=180)
        return subprocess.CompletedProcess(words, process.returncode, out, err)


@pytest.fixture(scope="module")
def user(copied) -> User:
    python, variables = everybodys(copied)
    home = copied / "nobodys"
    home.mkdir()
    os.chown(home, 65534, 65534)
    own = variables | {"HOME": str(home), "XDG_CACHE_HOME": str(home)}
    return User([*NOBODY, python, "-P", "-m", "mmaplock_bt"], own, home)


@pytest.fixture
def allowed(kernel, user) -> Iterator[User]:
    """As long as sudo starts anything for nobody."""
    RULE.write_text("nobody ALL=(ALL) NOPASSWD: ALL\n")
    RULE.chmod(0o440)
    try:
        if subprocess.run([*NOBODY, "sudo", "-n", "true"], check=False).returncode:
            pytest.skip("sudo does not read its rules here")
        yield user
    finally:
        RULE.unlink()


def test_bpftrace_alone_is_root(allowed):
    words = ("hold-times", "--sudo", "-q", "-v", "-o", "r.json", "--save-raw", "raw")
    done = allowed.run(*words, "--", "sh", "-c", "id -u; echo $HOME")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-2:] == ["65534", str(allowed.home)]
    result = loaded((allowed.home / "r.json").read_text())
    assert result.loss.complete and result.books.acquires and result.books.residue == 0
    assert "may not be switched on or read" in done.stdout  # what costs are not known is said
    assert all((allowed.home / one).stat().st_uid == 65534 for one in ("r.json", "raw"))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_however_the_run_ends_bpftrace_does(allowed, number):
    reader, writer = os.pipe()
    saved = allowed.home / f"{number}.json"
    words = ("hold-times", "--sudo", "-q", "-o", str(saved), "--ready-fd", str(writer))
    with allowed.start(*words, pass_fds=[writer]) as process:
        os.close(writer)
        assert os.read(reader, 9) == b"ready\n", process.communicate()[1]
        os.close(reader)
        assert _below(process.pid)
        process.send_signal(number)
        process.communicate(timeout=60)
    deadline = time.monotonic() + ENDS_S
    while (left := _below(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left
    if number == signal.SIGINT:
        assert process.returncode == 0 and loaded(saved.read_text()).loss.complete


def _below(pid: int) -> list[int]:
    """Whoever was told to open what this process has: sudo, its shell, bpftrace."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if b"/proc/%d/fd/" % pid in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def test_what_needs_more_than_bpftrace_is_refused_before_anything_is_asked(allowed):
    for words in (("--max-overhead", "2%"), ("-p", "1", "--descendants"), ("--trap", "hold > 1s")):
        done = allowed.run("blame", "--sudo", "-d", "1s", *words)
        assert done.returncode == 2 and "needs more of root than bpftrace" in done.stderr


def test_open_holds_that_were_not_looked_at_are_told(allowed):
    done = allowed.run("stuck-locks", "--sudo", "-d", "300ms", "-q", "--gate", "stuck.count == 0")
    assert done.returncode == 5, (done.stdout, done.stderr)
    assert "maps cannot be read" in done.stdout and "INCOMPLETE" in done.stdout


def test_a_sudo_that_wants_a_password_is_one_sentence(kernel, user):
    done = user.run("hold-times", "--sudo", "-d", "1s")
    assert done.returncode == 3 and done.stderr.count("\n") == 1
    assert "sudo does not start a program for this user without a password" in done.stderr


def test_nothing_is_asked_where_this_is_root(cli, kernel):
    assert cli("run", "hold-times", "--sudo", "--", "true").returncode == 0
