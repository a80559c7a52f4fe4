"""What an admin finds after apt install, and that purge takes it away."""

import json
import re
import socket
import subprocess
import threading
import urllib.request

import pytest

from mmaplock_bt import NAME, command_line
from tests.kernel.conftest import kernel  # noqa: F401
from tests.kernel.processes import running
from tools import roots

NEWER = f"{NAME}-python3.11"
WORKLOAD = ("python3", f"/usr/share/{NAME}/mmaplock_bt/workload.py")
UNIT = f"{NAME}-agent.service"
COMPLETE = """\
. /usr/share/bash-completion/bash_completion
_completion_loader mmaplock-bt 2>/dev/null || true
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
$(complete -p mmaplock-bt | sed 's/.* -F \\([^ ]*\\) .*/\\1/')
printf '%s\\n' "${COMPREPLY[@]}"
"""


def test_apt_brings_newer_libraries_only_where_the_release_has_old_ones(installed, root):
    found = installed("dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Abbrev}\n")
    have = {line.split()[0] for line in found.splitlines() if line.split()[1] == "ii"}
    is_old = root.name == "bookworm"
    assert "bpftrace" in have
    assert (NEWER in have) == is_old
    assert ("python3-pydantic" in have) != is_old


def test_every_command_starts(installed):
    assert "exit codes:" in installed(NAME, "--help")
    for verb in command_line.COMMANDS:
        assert "examples:" in installed(NAME, verb, "--help")


def test_it_is_the_tool_without_an_environment_of_its_own(installed):
    assert "writer-starvation" in installed(NAME, "list")
    assert "smaps" in installed(NAME, "explain", "smaps")
    assert "USAGE" in installed(NAME, "script", "blame")
    assert installed(NAME, "check", "blame") is not None


def test_nothing_of_the_callers_python_is_imported(installed, root):
    for folder in ("srv", "tmp"):
        (root / folder / "yaml.py").write_text("raise SystemExit('imported')")
    installed("sh", "-c", f"cd /srv && {NAME} show blame", PYTHONPATH="/tmp")


@pytest.mark.parametrize("module", ["cxxfilt", "textual.app", "mmaplock_bt.agent.otlp"])
def test_what_is_imported_when_it_is_needed_is_there(installed, module):
    launcher = f"open('/usr/bin/{NAME}').read().partition('from mmaplock_bt')[0]"
    code = f"exec({launcher}); import {module}"
    installed("python3", "-I", "-c", code)


def test_the_page_is_found_and_rendered_without_a_warning(installed):
    assert "who held mmap_lock" in installed("whatis", NAME)
    assert installed("sh", "-c", f"man --warnings {NAME} 2>&1 >/dev/null") == ""
    page = installed("man", NAME, MANWIDTH="80")
    assert "--trap" in page and "writer-starvation" in page


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["ex"], ["explain"]),
        (["run", "writer"], ["writer-starvation"]),
        (["run", "--mode", ""], ["read", "write"]),
        (["explain", "sma"], ["smaps"]),
        (["agent", "/etc/mmaplock-bt/a"], ["/etc/mmaplock-bt/agent.yaml"]),
        (["run", "blame", "--", "systemd-anal"], ["systemd-analyze"]),
    ],
)
def test_bash_completes(installed, words, found):
    # /bin and /usr/bin are one, and both on PATH.
    told = installed("bash", "-c", COMPLETE, "bash", NAME, *words).split()
    assert sorted(set(told)) == found


def test_fish_and_zsh_complete(installed):
    assert "smaps" in installed("fish", "-c", f"complete -C '{NAME} explain sma'").split()
    assert "writer-starvation" in installed("fish", "-c", f"complete -C '{NAME} run writer'")
    look = f"autoload -U compinit; compinit -D -u; autoload +X _{NAME}; print $_comps[{NAME}]"
    assert installed("zsh", "-f", "-c", look).split() == [f"_{NAME}"]


def test_systemd_takes_the_unit_and_its_page_and_does_not_start_it(installed):
    assert installed("sh", "-c", f"systemd-analyze verify {UNIT} 2>&1") == ""
    assert installed("sh", "-c", f"systemctl is-enabled {UNIT} || true").strip() == "disabled"


@pytest.mark.kernel
def test_it_traces(installed, root, kernel):  # noqa: F811
    told = json.loads(installed(NAME, "doctor", "--json"))
    assert told
    installed(NAME, "run", "hold-times", "-q", "--format", "none", "-o", "/tmp/result.json",
              "--", *WORKLOAD, "munmaps", "1009")  # fmt: skip
    result = json.loads((root / "tmp/result.json").read_text())
    assert result["window"]["command"]["status"] == 0
    assert result["books"]["downgrades"] >= 1009
    assert result["books"]["residue"] == 0


@pytest.mark.kernel
def test_a_trap_captures_by_the_same_modules(installed, root, kernel):  # noqa: F811
    trap = ("--trap", "hold > 100ms", "--trap-dir", "/tmp/captures", "--captures", "1")
    with running("frozen", 20, 4096):
        installed(NAME, "run", "blame", *trap, "--capture", "500ms", "-d", "60s", "--locks", "all")
    assert list((root / "tmp/captures").glob("*/result.json"))


@pytest.mark.kernel
def test_the_service_answers(installed, root, kernel):  # noqa: F811
    """As the unit starts it, on another port."""
    unit = (root / "lib/systemd/system" / UNIT).read_text()
    words = re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    variables = re.search(r"^Environment=(.*)$", unit, re.MULTILINE)
    assert words and variables
    own = roots.ENVIRONMENT | dict(one.split("=") for one in variables[1].split())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{free.getsockname()[1]}"
    argv = roots.inside(root, *words[1].split(), "--listen", where)
    agent = subprocess.Popen(argv, env=own, stderr=subprocess.PIPE, text=True)
    try:
        assert _answer(f"http://{where}/readyz", agent)
        told = _answer(f"http://{where}/metrics", agent)
    finally:
        agent.terminate()
        said = agent.communicate(timeout=60)[1]
    assert "mmaplock_up 1.0" in told, said
    assert agent.returncode == 0, said


def _answer(url: str, agent: subprocess.Popen[str]) -> str:
    """A page, as soon as it is answered with 200; within a minute."""
    for _ in range(300):
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return str(answer.read().decode())
        except OSError:
            assert agent.poll() is None
            threading.Event().wait(0.2)
    raise AssertionError(f"{url} is never answered")


def test_purge_leaves_nothing(installed, root):
    captured = root / f"var/lib/{NAME}/captures/one"
    captured.mkdir(parents=True)
    assert (root / f"var/cache/{NAME}").is_dir(), "the service has been there"
    installed("apt-get", "--quiet", "--yes", "purge", f"{NAME}*")
    others = "( -path /srv -o -path /tmp -o -path /var/cache/man ) -prune -o"
    found = installed("find", "/", "-xdev", *others.split(), "-iname", "*mmaplock*", "-print")
    assert found == ""
