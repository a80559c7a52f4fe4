"""Every command as another user, and as a root who has not all of root: told, never broken."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mmaplock_bt.machine import inventory
from tests.builders import STREAM
from tests.shell import ROOT

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(shutil.which("setpriv") is None, reason="no setpriv"),
]
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def copied() -> Iterator[Path]:
    """A copy of the package in a folder that anybody may read: pytest's own are root's alone."""
    with tempfile.TemporaryDirectory(prefix="everybodys-", dir="/tmp") as made:
        folder = Path(made)
        folder.chmod(0o755)
        _fill(folder)
        yield folder


def _fill(folder: Path) -> None:
    for name in ("mmaplock_bt", "templates", "profiles"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(STREAM, folder / "raw")
    (folder / "secret").mkdir(0o700)
    (folder / "home").mkdir(0o755)


def everybodys(copied: Path) -> tuple[str, dict[str, str]]:
    """A Python that everybody may run, and the variables by which it finds the copy."""
    packages = sysconfig.get_path("purelib")
    variables = {
        "PATH": os.environ["PATH"], "PYTHONPATH": f"{copied}:{packages}",
        "HOME": f"{copied}/secret", "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    version = "{}.{}".format(*sys.version_info)
    systems = shutil.which(f"python{version}", path="/usr/bin:/usr/local/bin")
    for python in (systems, sys.executable):
        argv = [*NOBODY, str(python), "-c", "import mmaplock_bt, pydantic"]
        if python and subprocess.run(argv, env=variables, check=False).returncode == 0:
            return python, variables
    pytest.skip("no Python of this version that everybody may run")


@pytest.fixture
def nobody(kernel, copied) -> Run:
    """Runs the tool as the user nobody, root's home still in its environment."""
    python, variables = everybodys(copied)

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*NOBODY, str(python), "-m", "mmaplock_bt", *words], cwd=copied, env=variables,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    return run


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("run", 3),
        ("run -- true", 3),
        ("run blame --trap hold>50ms", 3),
        ("run -o secret/x.json -- true", 2),
        ("run -o none/x.json -- true", 2),
        ("run -o x.json -- true", 2),
        ("run -o secret/runs/ -- true", 2),
        ("run secret/x.yaml", 2),
        ("run mine", 2),
        ("selftest", 3),
        ("doctor", 3),
        ("doctor --json", 3),
        ("doctor --bpftrace secret/x", 3),
        ("list", 0),
        ("show blame", 0),
        ("check blame", 0),
        ("check mine", 2),
        ("check secret/x.yaml", 2),
        ("check blame --budget secret/x.yaml", 2),
        ("script blame", 0),
        ("script blame --cgroup secret/x", 2),
        ("schema result", 0),
        ("report raw", 0),
        ("report secret/x.json", 2),
        ("report secret", 2),
        ("report raw -o secret/x.md", 2),
        ("gate raw --gate hold.count<1", 1),
        ("gate secret/x.json --gate hold.count<1", 2),
        ("compare secret/a raw", 2),
        ("explain smaps", 0),
    ],
)
def test_every_command_as_nobody(nobody, words, code):
    done = nobody(*words.split())
    if words == "explain smaps" and "invalid choice" in done.stderr:
        pytest.skip("no such command")
    assert "Traceback" not in done.stderr and "Error" not in done.stderr, done.stderr
    assert done.returncode == code, done.stderr
    assert bool(done.stderr) == (code == 2 or (code == 3 and not words.startswith("doctor")))


def test_doctor_tells_nobody_what_is_missing_and_how_to_mend_it(nobody):
    checks = {
        check["name"]: check for check in json.loads(nobody("doctor", "--json").stdout)["checks"]
    }
    for name in ("privilege", "tracefs"):
        assert checks[name]["state"] == "missing" and checks[name]["mend"].startswith("sudo ")
    assert "root" in checks["tracefs"]["found"]
    assert "missing privilege: tracing needs root" in nobody("doctor").stdout


def less(lacking: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """The tool as root without these capabilities."""
    return without(lacking, sys.executable, "-m", "mmaplock_bt", *words)


def without(lacking: str, *argv: str) -> "subprocess.CompletedProcess[str]":
    """A program as root without these capabilities."""
    return subprocess.run(
        ["setpriv", f"--bounding-set={lacking}", f"--inh-caps={lacking}", *argv],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.fixture
def itself(kernel):
    """Skips where bpftrace is a script that needs all of root before it starts it."""
    if without("-sys_admin", kernel.path, "--version").returncode:
        pytest.skip("this bpftrace is started in a mount namespace of its own")


@pytest.mark.parametrize(
    ("words", "code"), [("run --engine bpftrace -- true", 3), ("doctor", 0), ("selftest", 3)]
)
def test_root_of_a_container_is_told_which_capabilities_it_lacks(itself, words, code):
    """As Docker gives them: bpftrace itself would only say that it failed to create a map."""
    done = less("-sys_admin,-bpf,-perfmon", *words.split())
    told = done.stdout + done.stderr
    assert done.returncode == code
    assert "root without CAP_SYS_ADMIN and without CAP_BPF, CAP_PERFMON" in told
    assert "--cap-add" in told and "reinstall" not in told and "ok      privilege" not in told


def test_where_the_kernel_gives_no_bpf_tracefs_traces_and_says_why(kernel):
    done = less("-sys_admin,-bpf,-perfmon", "run", "hold-times", "-d", "100ms")
    assert done.returncode == 0, done.stderr
    assert "engine: tracefs, because root without CAP_SYS_ADMIN and without CAP_BPF" in done.stderr
    assert "INCOMPLETE" not in done.stdout


def test_bpf_and_perfmon_may_be_enough_and_it_is_said_when_not(itself, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    done = less("-sys_admin", "run", "hold-times", "-d", "100ms")
    if done.returncode == 0:
        assert "Traceback" not in done.stderr and "INCOMPLETE" not in done.stdout
    else:
        assert done.returncode == 3 and "CAP_SYS_ADMIN" in done.stderr
        assert "reinstall bpftrace" not in done.stderr


@pytest.mark.skipif(shutil.which("unshare") is None, reason="no unshare")
def test_root_of_a_user_namespace_is_not_root(kernel):
    argv = ["unshare", "-Ur", sys.executable, "-m", "mmaplock_bt", "run"]
    argv += ["--engine", "bpftrace", "--", "true"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    if "unshare" in done.stderr:
        pytest.skip("no user namespaces here")
    assert done.returncode == 3 and "root of a user namespace" in done.stderr
    assert inventory.USERS.stat().st_ino == inventory.INITIAL_USERS


@pytest.fixture
def behind(kernel):
    """The program as root behind whom the user nobody is, in a folder of that user's."""
    with tempfile.TemporaryDirectory(prefix="everybodys-", dir="/tmp") as made:
        home = Path(made)
        os.chown(home, 65534, 65534)
        yield _behind(home)


def _behind(home: Path) -> Run:
    # sudo's environment names no bpftrace that root would run.
    variables = os.environ | {"SUDO_UID": "65534", "SUDO_GID": "65534"}
    named = variables.pop("MMAPLOCK_BPFTRACE", "")

    def run(
        *words: str, env: dict[str, str] | None = None, by: str = sys.executable
    ) -> "subprocess.CompletedProcess[str]":
        if named and words[0] == "run":
            words = ("run", "--bpftrace", named, *words[1:])
        return subprocess.run(
            [by, "-P", "-m", "mmaplock_bt", *words], cwd=home, text=True, timeout=120,
            env=variables | (env or {}),
            capture_output=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    run.home = home
    return run


WHO = ("sh", "-c", "id -u; id -g; id -G; echo $HOME $USER ${SUDO_UID-none} $KEPT")


def who(done: "subprocess.CompletedProcess[str]") -> list[str]:
    """What the command said of itself: its output goes where standard error does."""
    lines = [line for line in done.stderr.splitlines() if "mmaplock-bt" not in line]
    return [line for line in lines if line.strip() and not line.startswith("compiling")]


@pytest.mark.parametrize("again", [False, True], ids=["first", "with a head start"])
def test_the_command_is_the_users_behind_sudo(behind, again):
    for _ in range(1 + again):
        done = behind("run", "hold-times", "-q", "--", *WHO, env={"KEPT": "kept"})
        assert done.returncode == 0, done.stderr
        assert who(done) == ["65534", "65534", "65534", "/nonexistent nobody none kept"]


@pytest.mark.parametrize(
    ("words", "first"),
    [(("--user", "root"), "0"), (("--user", "daemon"), "1"), (("--user", "nobody"), "65534")],
)
def test_the_command_is_whose_it_is_said_to_be(behind, words, first):
    done = behind("run", "hold-times", "-q", *words, "--", *WHO)
    assert done.returncode == 0 and who(done)[0] == first, done.stderr


def test_files_are_the_users_behind_sudo(behind):
    wanted = ("-o", "r.json", "-o", "r.md", "--save-raw", "raw")
    assert behind("run", "hold-times", *wanted, "--", "true").returncode == 0
    done = behind("run", "hold-times", "--repeat", "2", "-o", "runs/", "--", "true")
    assert done.returncode == 0, done.stderr
    assert behind("report", "raw", "-o", "again.md").returncode == 0
    found = [behind.home, *behind.home.rglob("*")]
    assert len(found) == 8 and {(one.stat().st_uid, one.stat().st_gid) for one in found} == {
        (65534, 65534)
    }
    assert (behind.home / "runs").stat().st_mode & 0o777 == 0o700


def test_his_links_lead_root_nowhere(behind, tmp_path):
    roots = tmp_path / "roots"
    roots.mkdir()
    (roots / "file").write_text("root's")
    for name, target in (("link", roots), ("runs", roots), ("r.json", roots / "file")):
        (behind.home / name).symlink_to(target)
    for words in (
        ("-o", "link/x.json"),
        ("-o", "link/file", "--force"),
        ("--save-raw", "link/x"),
        ("-o", "runs/"),
        ("-o", "r.json"),
        ("-o", f"{roots}/x.json"),
    ):
        done = behind("run", "hold-times", *words, "--", "true")
        assert done.returncode == 2, (words, done.stderr)
        assert "Traceback" not in done.stderr
    assert "(--user root writes as root)" in done.stderr
    assert [(one.name, one.read_text()) for one in roots.iterdir()] == [("file", "root's")]


def test_what_is_rendered_is_rendered_without_root(behind, copied):
    """A name that breaks a renderer meets a process that is nobody's any more."""
    python, variables = everybodys(copied)
    (copied / "sitecustomize.py").write_text(
        "import os\nfrom mmaplock_bt import renderers\n"
        "renderers.rendered = lambda *_, **__: str(os.getresuid())\n"
    )
    try:
        done = behind("run", "hold-times", "-o", "r.json", "--", "true", env=variables, by=python)
    finally:
        (copied / "sitecustomize.py").unlink()
    assert done.stdout.strip() == str((65534,) * 3), done.stderr
    assert (behind.home / "r.json").read_text() == done.stdout


@pytest.mark.parametrize("name", ["no-such-user", "", "-1"])
def test_a_user_that_is_not_there_is_refused(behind, name):
    done = behind("run", f"--user={name}", "--", "touch", "ran")
    assert done.returncode == 2 and "there is no such user" in done.stderr
    assert not (behind.home / "ran").exists()
