"""What is written from the code is up to date, and the import contract bites."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from mmaplock_bt import command_line, usage
from mmaplock_bt.commands import combinations, schemas
from mmaplock_bt.result.saved import to_json
from tests.builders import captured

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "tool",
    ["architecture", "cause_docs", "template_docs", "schema_files", "man_page", "completions"],
)
def test_written_from_the_code(tool):
    """`make docs` writes them again."""
    argv = [sys.executable, str(ROOT / f"tools/{tool}.py"), "--check"]
    assert subprocess.run(argv, check=False).returncode == 0


def test_the_tests_that_prove_the_promises_exist():
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs/reliability.md").read_text())
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not re.search(rf"def {name}\(", (ROOT / file).read_text())
    ]
    assert not missing


@pytest.mark.parametrize("kind", schemas.KINDS)
def test_every_property_is_described(kind):
    made = schemas.schema(kind)
    jsonschema.Draft202012Validator.check_schema(made)
    assert made["$schema"] and made["$id"].startswith(f"urn:mmaplock-bt:schema:{kind}:")
    for inner in schemas._objects(made):
        for name, item in inner.get("properties", {}).items():
            assert item.get("description"), f"{inner.get('title')}.{name}"


def test_a_result_is_as_its_schema_says():
    jsonschema.validate(json.loads(to_json(captured())), schemas.schema("result"))


def test_shipped_profiles_tell_editors_their_schema():
    for path in (ROOT / "profiles").glob("*.yaml"):
        found = re.match(r"# yaml-language-server: \$schema=(\S+)\n", path.read_text())
        assert found and (path.parent / found[1]).resolve().is_file(), path


def test_a_module_that_belongs_nowhere_fails_the_lint(tmp_path):
    """The contract is exhaustive: a new room must have its line."""
    (tmp_path / "pyproject.toml").symlink_to(ROOT / "pyproject.toml")
    package = tmp_path / "mmaplock_bt"
    shutil.copytree(ROOT / "mmaplock_bt", package)
    assert lint_imports(tmp_path).returncode == 0
    (package / "foreign.py").write_text("from mmaplock_bt import cli  # noqa\n")
    assert lint_imports(tmp_path).returncode != 0


def test_an_import_that_runs_back_fails_the_lint(tmp_path):
    (tmp_path / "pyproject.toml").symlink_to(ROOT / "pyproject.toml")
    shutil.copytree(ROOT / "mmaplock_bt", tmp_path / "mmaplock_bt")
    units = tmp_path / "mmaplock_bt/units.py"
    units.write_text(units.read_text() + "\nfrom mmaplock_bt.spec import gates as gates\n")
    assert lint_imports(tmp_path).returncode != 0


def lint_imports(folder: Path) -> subprocess.CompletedProcess:
    """In a process whose package is the folder's."""
    tool = Path(sys.executable).parent / "lint-imports"
    return subprocess.run([tool, "--no-cache"], cwd=folder, env={"PYTHONPATH": str(folder)},
                          capture_output=True, check=False)  # fmt: skip


SUDO = ["sudo", "$(command -v mmaplock-bt)"]


def called(document: str) -> list[list[str]]:
    """The calls of this tool that a document shows at a prompt, continued lines joined."""
    text = (ROOT / document).read_text().replace("\\\n", " ")
    lines = [line.partition("  # ")[0] for line in re.findall(r"^\$ (.*)$", text, re.MULTILINE)]
    return [words for words in map(shlex.split, lines) if "mmaplock-bt" in " ".join(words[:2])]


def test_what_the_readme_shows_is_understood_and_works_as_it_stands():
    """pipx and virtual environments put the tool where sudo does not look."""
    found = called("README.md")
    assert len(found) > 12
    for words in found:
        as_root = words[:2] == SUDO
        assert as_root or words[0] == "mmaplock-bt", words
        rest = words[2 if as_root else 1 :]
        cut = next((at for at, word in enumerate(rest) if word in ("<", ">")), len(rest))
        arguments = command_line.parse(rest[:cut])
        combinations.check(arguments)
        assert as_root == (arguments.verb in usage.AS_ROOT), words
