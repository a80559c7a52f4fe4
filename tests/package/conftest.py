"""The packages in dist/, installed by apt in a Debian that has nothing but itself."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mmaplock_bt import NAME
from tests.shell import ROOT
from tools import roots

SUITES = os.environ.get("MMAPLOCK_SUITES", "bookworm trixie").split()
# What the tests look with; nothing of it is among the packages' own needs.
LOOKERS = "bash-completion,fish,man-db,systemd,zsh"
TIMEOUT_S = 300
Run = Callable[..., str]


@pytest.fixture(scope="session")
def packages() -> list[Path]:
    """The newest build of each."""
    found = sorted((ROOT / "dist").glob(f"{NAME}*.deb"))
    if not found:
        pytest.skip("no packages in dist/: make package")
    return found


@pytest.fixture(scope="session", params=SUITES)
def root(request, tmp_path_factory) -> Iterator[Path]:
    """A copy of a suite's root, which the tests may change."""
    folder = tmp_path_factory.mktemp("root") / request.param
    subprocess.run(
        ["cp", "--archive", "--reflink=auto", roots.equipped(request.param, LOOKERS), folder],
        check=True, timeout=TIMEOUT_S,
    )  # fmt: skip
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def inside(root) -> Run:
    """Runs words in the root and returns what they print; the exit code must be 0."""

    def run(*words: str, text: str = "", **more: str) -> str:
        done = subprocess.run(
            roots.inside(root, *words), input=text, capture_output=True, text=True, check=False,
            env=roots.ENVIRONMENT | {"XDG_CACHE_HOME": "/tmp/cache"} | more, timeout=TIMEOUT_S,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def installed(root, inside, packages) -> Run:
    """The same, where apt has installed ours from a repository of all that are built."""
    roots.offer(root, packages)
    inside("apt-get", "--quiet", "update")
    inside("apt-get", "--quiet", "--yes", "install", NAME)
    return inside
