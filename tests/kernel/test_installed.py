"""The tool as pip installs it; this asks an index of packages."""

import subprocess

import pytest

pytestmark = pytest.mark.kernel


def test_it_works_installed_in_a_clean_environment(installed, tmp_path):
    tool = installed / "tool/bin"
    where = [tool / "python", "-c", "import mmaplock_bt; print(mmaplock_bt.__file__)"]
    for argv, told in (
        (where, str(installed)),
        ([tool / "mmaplock-bt", "list"], "writer-starvation"),
        ([tool / "mmaplock-bt", "script", "blame"], "USAGE"),
    ):
        done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=tmp_path)
        assert told in done.stdout
