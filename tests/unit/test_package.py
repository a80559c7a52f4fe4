"""What Debian's package says of the tool, and what is written for it, is true."""

import argparse
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from mmaplock_bt import NAME, __version__, command_line
from mmaplock_bt.agent import config
from tests.shell import ROOT

DEBIAN = ROOT / "debian"
PAGE = ROOT / f"docs/{NAME}.1"
AGENT = ROOT / "deploy/systemd/agent.yaml"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
# Where Debian's name is not python3- and PyPI's.
DEBIANS = {"pyyaml": "python3-yaml"}
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
BASH = """\
. deploy/completion/mmaplock-bt.bash
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_mmaplock_bt
printf '%s\\n' "${COMPREPLY[@]}"
"""


def parsers() -> list[argparse.ArgumentParser]:
    parser, verbs = command_line.parsers()
    return [parser, *verbs.values()]


def completed(*words: str, **more: str) -> set[str]:
    """What bash offers for the last word."""
    done = subprocess.run(
        ["bash", "--norc", "-c", BASH, "bash", NAME, *words],
        cwd=ROOT, check=True, capture_output=True, text=True, env=ENVIRONMENT | more,
    )  # fmt: skip
    return set(done.stdout.split())


def paragraph(package: str) -> str:
    found = re.search(rf"^Package: {re.escape(package)}\n(.*?)(?=\n\n|\Z)",
                      (DEBIAN / "control").read_text(), re.MULTILINE | re.DOTALL)  # fmt: skip
    assert found
    return found[1]


def pins() -> dict[str, dict[str, Version]]:
    """Each package's wheels that are brought along."""
    found = {}
    for path in (DEBIAN / "wheels").glob("*.txt"):
        lines = re.findall(r"^([\w.-]+)==(\S+)", path.read_text(), re.MULTILINE)
        found[path.stem] = {name.replace("_", "-"): Version(one) for name, one in lines}
    return found


def test_the_package_has_the_tools_version():
    newest = (DEBIAN / "changelog").read_text().partition("\n")[0]
    assert newest.startswith(f"{NAME} ({__version__}) ")


@pytest.mark.parametrize("wanted", list(map(Requirement, PROJECT["dependencies"])), ids=str)
def test_what_the_tool_requires_the_package_brings_or_depends_on(wanted):
    """In the same least version; where a Debian has an older one, as a wheel of that."""
    name = wanted.name.lower()
    wheels = pins()
    if name in wheels[NAME]:
        assert wanted.specifier.contains(wheels[NAME][name])
        return
    (least,) = wanted.specifier
    debian = DEBIANS.get(name, f"python3-{name.removeprefix('python3-')}")
    depends = re.search(rf"^ {debian} \(>= (\S+)\)(?: \| (\S+))?,$", paragraph(NAME), re.MULTILINE)
    assert depends and depends[1] == least.version
    if depends[2]:
        assert wanted.specifier.contains(wheels[depends[2]][name])


def test_another_python_or_bpftrace_than_the_tools_is_not_enough():
    assert PROJECT["requires-python"] == ">=3.11"
    assert "\n python3 (>= 3.11)," in paragraph(NAME)
    assert "\n bpftrace (>= 0.17)," in paragraph(NAME)


def test_the_agents_file_says_the_defaults_and_nothing_else(tmp_path):
    assert config.load(str(AGENT)) == config.Config()
    told = re.sub(r"^# (?=( *)[a-z]+:)", "", AGENT.read_text(), flags=re.MULTILINE)
    whole = tmp_path / "agent.yaml"
    whole.write_text(told)
    found = config.load(str(whole))
    assert found.trap == config.Trap(folder="/var/lib/mmaplock-bt/captures")
    assert found.textfile and found.otlp
    assert (
        found.model_copy(update={"trap": None, "textfile": None, "otlp": None}) == config.Config()
    )


def test_every_key_of_the_agents_file_is_told():
    for kind in (config.Config, config.Culprits, config.Limits, config.Pause, config.Trap):
        for name in kind.model_fields:
            assert re.search(rf"^#  *{name}:", AGENT.read_text(), re.MULTILINE), name


def test_the_page_has_every_command_and_every_option():
    page = PAGE.read_text().replace("\\-", "-")
    for parser in parsers():
        verb = parser.prog.removeprefix(NAME).strip()
        _, _, told = page.partition(f"\n.SS {verb}\n" if verb else "\n.SH OPTIONS\n")
        told = re.split(r"\n\.S[SH] ", told)[0]
        assert told, verb
        for action in parser._actions:
            for name in action.option_strings:
                assert re.search(rf"^\.B (?:.*, )?{name}(?:,| |$)", told, re.MULTILINE), name


@pytest.mark.skipif(shutil.which("man") is None, reason="no man")
def test_the_page_is_rendered_without_a_warning():
    done = subprocess.run(
        ["man", "--warnings", "--local-file", PAGE],
        capture_output=True, text=True, check=True, env=ENVIRONMENT,
    )  # fmt: skip
    assert done.stderr == ""
    assert "bpftrace(8)" in done.stdout


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["sel"], {"selftest"}),
        (["run", "hold-t"], {"hold-times"}),
        (["run", "-d", "10s", "mi"], {"mine"}),
        (["top", "--lo"], {"--locks"}),
        (["run", "--locks", ""], {"all", "contended"}),
        (["explain", "page", "fau"], {"fault", "faults"}),
        (["report", "LIC"], {"LICENSE"}),
    ],
)
def test_bash_completes(tmp_path, words, found):
    own = tmp_path / NAME / "profiles/mine.yaml"
    own.parent.mkdir(parents=True)
    own.touch()
    assert completed(*words, XDG_CONFIG_HOME=str(tmp_path)) == found


@pytest.mark.parametrize("verb", ["", *command_line.COMMANDS])
def test_bash_knows_every_command_and_every_option(verb):
    parser, verbs = command_line.parsers()
    wanted = (verbs[verb] if verb else parser)._actions
    names = {name for action in wanted for name in action.option_strings}
    assert completed(*filter(None, [verb]), "-") == names
    assert verb in {"", *completed(verb)}


def test_what_the_package_installs_is_there():
    for line in Path(DEBIAN / f"{NAME}.install").read_text().splitlines():
        assert (ROOT / line.split()[0]).exists(), line


def test_what_the_wheel_is_made_of_is_given_to_the_image():
    wheel = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    given = re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    for name in (*wheel["packages"], *wheel["force-include"], *wheel["shared-data"]):
        assert any(name == one or name.startswith(f"{one}/") for one in given), name
