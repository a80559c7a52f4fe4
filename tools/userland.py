"""The tests in another Debian's userland, on this machine's kernel: userland.py SUITE [WORD...]

Its Python, bpftrace, sudo, perf and shell, and a copy of what is committed. Without words that is
`make test test-thorough`; with some they are pytest's. The root needs no index of packages: its
Python's wheels are downloaded here.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import roots

REPOSITORY = Path(__file__).resolve().parent.parent
TIMEOUT_S = 600
# What the tests use besides bpftrace and Python; without one of them its tests fail or are skipped.
PACKAGES = (
    "bpftrace", "gcc", "git", "libc6-dev", "linux-perf", "make", "mount", "procps", "python3-venv",
    "redis-server", "sudo", "tmux",
)  # fmt: skip
BUILDS = ("hatchling>=1.27", "editables", "pip")  # what `pip install -e` wants of an index
RUN = """\
cd "$1" && shift
[ $# = 0 ] && exec make test test-thorough
make .venv/.dev && exec .venv/bin/python -B -m pytest -p no:cacheprovider "$@"
"""


def run(suite: str, words: list[str]) -> int:
    """Runs the tests and returns their exit status."""
    root = roots.equipped(suite, ",".join(PACKAGES))
    with tempfile.TemporaryDirectory(prefix="mmaplock-bt-", dir=root) as folder:
        Path(folder).chmod(0o755)  # tests become other users
        checkout, wheels = Path(folder, "checkout"), Path(folder, "wheels")
        _copy(checkout)
        _download(wheels, _python(root))
        inside = roots.inside(root, "sh", "-c", RUN, "sh", f"/{checkout.relative_to(root)}", *words)
        index = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": f"/{wheels.relative_to(root)}"}
        jobs = {"JOBS": os.environ.get("JOBS", "auto")}
        return subprocess.run(inside, env=roots.ENVIRONMENT | index | jobs, check=False).returncode


def _copy(target: Path) -> None:
    """What is committed: no leftover of this machine's."""
    target.mkdir()
    archive = target.with_suffix(".tar")
    # The checkout may be another user's.
    git = ["git", "-c", f"safe.directory={REPOSITORY}", "-C", str(REPOSITORY)]
    subprocess.run([*git, "archive", "-o", str(archive), "HEAD"], check=True)
    shutil.unpack_archive(archive, target, filter="data")
    archive.unlink()


def _python(root: Path) -> str:
    (python,) = (root / "usr/bin").glob("python3.??")
    return python.name.removeprefix("python")


def _download(wheels: Path, number: str) -> None:
    """The tool's wheel and all that it and its tests depend on, for that Python."""
    _pip("wheel", "--no-deps", "-w", str(wheels), str(REPOSITORY))
    (wheel,) = wheels.glob("*.whl")
    _pip("download", "-d", str(wheels), "--only-binary=:all:", "--python-version", number,
         f"{wheel}[dev]", *BUILDS)  # fmt: skip


def _pip(*words: str) -> None:
    argv = [sys.executable, "-m", "pip", "-qq", "--disable-pip-version-check", *words]
    subprocess.run(argv, check=True, timeout=TIMEOUT_S)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    sys.exit(run(sys.argv[1], sys.argv[2:]))
