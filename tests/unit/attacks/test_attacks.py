"""No code gets in: each attack is refused in a sentence, soon, in little memory, by the right code.

What is tried stands in `profiles` and `templates`, files and command lines below.
"""

import json
import os
import socket
import subprocess
import sys
import zlib
from dataclasses import dataclass

import pytest

from tests.builders import ROOT
from tests.unit.attacks import worker
from tests.unit.attacks.profiles import PROFILES
from tests.unit.attacks.templates import BOMBS, EXPRESSIONS, STATEMENTS

MAX_KIB = 200 << 10
CPU_S = 3
LINES = 52  # a sentence for each fault, and how many there are more
PICKLE = "cos\\nsystem\\n(S\\'touch CANARY\\'\\ntR."
TEMPLATE = """{{#
question: q
outputs: {{x: {{kind: counter, title: t}}}}
#}}
{{% extends "_mmap_lock.bt.j2" %}}
{{% block hold_ended %}}
{{{{ record("x") }}}}
{}
{{% endblock %}}
"""
NO_BPFTRACE = ("--bpftrace", "/nonexistent/bpftrace")
VERBS = {
    "check": ("check", "{}"),
    "show": ("show", "{}"),
    "script": ("script", "{}", *NO_BPFTRACE),
    "run": ("run", "{}", "-d", "1ms", *NO_BPFTRACE),
}


@dataclass(frozen=True)
class Outcome:
    """Of a command line; `max_kib` is the most memory of its largest process."""

    status: int
    cpu_s: float
    max_kib: int
    out: str
    err: str


class Attacker:
    def __init__(self, process, folder, cache):
        self.process, self.folder, self.cache = process, folder, cache
        (folder / "config/mmaplock-bt/profiles").mkdir(parents=True)

    def __call__(self, *words, **environment):
        homes = {"XDG_CONFIG_HOME": f"{self.folder}/config", "XDG_CACHE_HOME": str(self.cache)}
        asked = {"words": words, "folder": str(self.folder), "environment": homes | environment}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return Outcome(**json.loads(self.process.stdout.readline()))

    def write(self, name, text):
        path = self.folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Of the base as compiled, which takes longer than an attack."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def process():
    argv = [sys.executable, worker.__file__]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as started:
        yield started
        started.stdin.close()


@pytest.fixture
def attack(process, tmp_path, cache):
    return Attacker(process, tmp_path, cache)


ALL = "MMAPLOCK_ATTACKS" in os.environ  # each by every command: `make attacks`


def chosen(name, verbs):
    """One command for each attack, in turn."""
    return verbs if ALL else (verbs[zlib.crc32(name.encode()) % len(verbs)],)


def words_of(verb, path):
    return [word.format(path) for word in VERBS[verb]]


def refused(done, folder, says="", code=2):
    told = done.err.splitlines()
    assert done.status == code, done
    assert done.err.startswith("mmaplock-bt: ") and len(told) <= LINES, done.err
    assert says in done.err
    assert "Traceback" not in done.err and "a fault of mmaplock-bt" not in done.err
    assert all(len(line) < 2100 and line.isprintable() for line in told)
    assert not any(line.lstrip().startswith("::") for line in told)
    assert done.out == ""
    harmless(done, folder)


def harmless(done, folder):
    assert not (folder / "CANARY").exists(), "it ran"
    assert done.cpu_s < CPU_S and done.max_kib < MAX_KIB, done


def test_there_are_many():
    assert len(EXPRESSIONS) + len(STATEMENTS) + len(BOMBS) + len(PROFILES) >= 300


@pytest.mark.parametrize("name", PROFILES)
def test_a_hostile_profile(name, attack, tmp_path):
    """By every command that reads one."""
    says, text = PROFILES[name]
    os.mkfifo(tmp_path / "fifo")
    attack.write("p.yaml", text)
    verbs = [verb for verb in VERBS if verb != "show" or "cgroup" not in name]
    for verb in chosen(name, verbs):
        refused(attack(*words_of(verb, "./p.yaml")), tmp_path, says)


@pytest.mark.parametrize("name", list(PROFILES)[:: 1 if ALL else 5])
def test_a_hostile_profile_for_programs_and_in_a_list(name, attack, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    attack.write("p.yaml", PROFILES[name][1])
    told = attack("check", "./p.yaml", "--json")
    assert told.status == 2 and not json.loads(told.out)["valid"] and not told.err
    harmless(told, tmp_path)
    attack.write("config/mmaplock-bt/profiles/mine.yaml", PROFILES[name][1])
    listed = attack("list")
    assert listed.status in (0, 2) and "Traceback" not in listed.err
    harmless(listed, tmp_path)


def template_is_refused(attack, folder, text, says="", verbs=("check", "script")):
    attack.write("x.bt.j2", TEMPLATE.format(text.replace("PICKLE", PICKLE)))
    attack.write("p.yaml", "template: ./x.bt.j2\n")
    for verb in chosen(text, verbs):
        refused(attack(*words_of(verb, "./p.yaml")), folder, says)


@pytest.mark.parametrize("text", EXPRESSIONS[:: 1 if ALL else 3])
def test_a_template_that_wants_out(text, attack, tmp_path):
    says = "" if text.startswith("quote(") else "x.bt.j2"
    template_is_refused(attack, tmp_path, f"{{{{ {text} }}}}", says)


@pytest.mark.parametrize("text", STATEMENTS[:: 1 if ALL else 2])
def test_a_template_with_a_hostile_statement(text, attack, tmp_path):
    template_is_refused(attack, tmp_path, text, "x.bt.j2")


@pytest.mark.parametrize("text", BOMBS, ids=lambda text: text[:40])
def test_a_template_that_wants_everything(text, attack, tmp_path):
    template_is_refused(attack, tmp_path, text, "x.bt.j2", verbs=("check",))


FILES = {
    "a device that never ends": ("/dev/zero", "not a regular file"),
    "a device of random bytes": ("/dev/urandom", "not a regular file"),
    "a device that is empty": ("/dev/null", "not a regular file"),
    "a pipe": ("./fifo", "not a regular file"),
    "a socket": ("./socket", "not a regular file"),
    "a folder": ("./config/", "not a regular file"),
    "the root": ("/", "not a regular file"),
    "a link to itself": ("./loop", "symbolic links"),
    "a link to a device": ("./zero", "not a regular file"),
    "a link to nothing": ("./dangling", "No such file"),
    "a file that is not there": ("./nothing.yaml", "No such file"),
    "a file below a file": ("./sparse/x", "Not a directory"),
    "a name of 10,000 letters": (f"./{'x' * 10_000}", "too long"),
    "a gigabyte of nothing": ("./sparse", "too long: at most 256 KiB"),
    "memory": ("/proc/self/mem", "cannot read"),
    "what is no text": ("./bytes", "not UTF-8"),
    "text of another kind": ("./utf16", "not UTF-8"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file(name, attack, tmp_path, monkeypatch):
    """As a profile, as a budget."""
    path, says = FILES[name]
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "dangling").symlink_to("nothing")
    attack.write("bytes", b"extends: \xff\xfe")
    attack.write("utf16", "extends: blame".encode("utf-16"))
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    with socket.socket(socket.AF_UNIX) as bound:
        monkeypatch.chdir(tmp_path)  # the name of a socket is short
        bound.bind("socket")
        for verb in chosen(name, tuple(VERBS)):
            refused(attack(*words_of(verb, path)), tmp_path, says)
        refused(attack("check", "blame", "--budget", path), tmp_path, says)


WORDS = {
    "a pid in Arabic digits": ("-p", "٥"),
    "a pid in full-width digits": ("-p", "５"),
    "a pid with a line below": ("-p", "1_000"),
    "a pid of 2^64 + 1": ("-p", str(2**64 + 1)),
    "a pid of 2^31": ("-p", str(2**31)),
    "a pid of 5,000 digits": ("-p", "9" * 5000),
    "a pid of 0": ("-p", "0"),
    "17 pids": tuple(word for n in range(1, 18) for word in ("-p", str(n))),
    "code as a pid": ("-p", '1; system("touch CANARY")'),
    "code as a name": ("--comm", '"; system("x")'),
    "a name with a quote": ("--comm", 'a"b'),
    "a name with a backslash": ("--comm", "a\\"),
    "a name with a line end": ("--comm", "a\nb"),
    "a name with an escape": ("--comm", "\x1b[31m"),
    "a name in other letters": ("--comm", "é"),
    "a name of 16 bytes": ("--comm", "x" * 16),
    "no name": ("--comm", ""),
    "a cgroup above the hierarchy": ("--cgroup", "../../../etc"),
    "a cgroup that is a file": ("--cgroup", "/etc/passwd"),
    "a cgroup of a long name": ("--cgroup", "/" + "x" * 10_000),
    "a container above the hierarchy": ("--container", "../../../etc"),
    "a container of a hostile name": ("--container", '"; system("touch CANARY")\x1b[31m\n'),
    "a container of a long name": ("--container", "a" * 10_000),
    "no container": ("--container", ""),
    "a unit above the hierarchy": ("--unit", "../../../etc/x.service"),
    "a unit of a hostile name": ("--actor-unit", '"; system("touch CANARY")\x1b[31m\n'),
    "a unit of a long name": ("--unit", "x" * 10_000),
    "no unit": ("--unit", ""),
    "a parameter in Arabic digits": ("--set", "threshold=٥ms"),
    "a parameter in full-width digits": ("--set", "kernel_stack=５"),
    "a parameter of 5,000 digits": ("--set", f"kernel_stack={'9' * 5000}"),
    "a parameter of a megabyte": ("--set", f"threshold={'9' * 100_000}s"),
    "code as a parameter": ("--set", 'threshold=1ms; system("touch CANARY")'),
    "a parameter that is out of range": ("--set", "kernel_stack=9999"),
    "a parameter of no name": ("--set", "=5ms"),
    "a parameter without a value": ("--set", "threshold"),
    "a parameter of a long name": ("--set", f"{'x' * 10_000}=1"),
    "an attribute as a parameter": ("--set", "__class__=1"),
    "a sample in full-width digits": ("--sample", "1/１６"),
    "a sample of nothing": ("--sample", "1/0"),
}


@pytest.mark.parametrize("name", WORDS)
def test_hostile_words(name, attack, tmp_path):
    done = attack("script", "long-holds", *WORDS[name], *NO_BPFTRACE)
    assert done.status == 2 and done.out == "", done
    assert "Traceback" not in done.err and 20 < len(done.err) < 4000
    assert done.err.count("\n") <= 6 and done.err.replace("\n", "").isprintable()
    harmless(done, tmp_path)


def test_what_a_profile_says_of_itself_stays_in_the_comment(attack, tmp_path):
    evil = '*/ BEGIN { system("touch CANARY") } /*'
    attack.write("p.yaml", f"extends: blame\ndescription: '{evil}'\n")
    done, plain = (attack("script", name, *NO_BPFTRACE) for name in ("./p.yaml", "blame"))
    assert done.status == 0 and "system(" in done.out
    _, _, program = done.out.partition("*/")
    assert program == plain.out.partition("*/")[2] and "system(" not in program
    harmless(done, tmp_path)


ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="what root obeys")
NOBODY = 65534
SHARED = {
    "a file that everybody can write": ("p.yaml", "chmod", 0o666, "chmod o-w"),
    "a file that a group can write": ("p.yaml", "group", 0o664, "chmod g-w"),
    "a file of somebody else": ("p.yaml", "chown", NOBODY, "chown root"),
    "a base of somebody else": ("base.yaml", "chown", NOBODY, "chown root"),
    "a template that everybody can write": ("x.bt.j2", "chmod", 0o646, "chmod o-w"),
    "a template of somebody else": ("x.bt.j2", "chown", NOBODY, "chown root"),
    "a folder that everybody can write": (".", "chmod", 0o777, "chmod o-w"),
    "a folder of somebody else": (".", "chown", NOBODY, "chown root"),
    "a folder above that everybody can write": ("..", "chmod", 0o777, "chmod o-w"),
    "a folder above of somebody else": ("..", "chown", NOBODY, "chown root"),
}


@pytest.fixture
def shared(attack, tmp_path):
    """A folder below two more, with a profile, its base and its template."""
    folder = tmp_path / "above/here"
    folder.mkdir(parents=True)
    (folder / "x.bt.j2").write_text(TEMPLATE.format(""))
    (folder / "base.yaml").write_text("template: ./x.bt.j2\n")
    (folder / "p.yaml").write_text("extends: ./base.yaml\n")
    return folder


@ROOT_ONLY
@pytest.mark.parametrize("name", SHARED)
def test_root_obeys_nobody_else(name, attack, tmp_path, shared):
    which, how, value, mend = SHARED[name]
    path = str(shared / "p.yaml")
    for verb in chosen(name, ("check", "show", "script")):
        assert attack(*words_of(verb, path)).status == 0
    victim = shared / which
    if how == "chown":
        os.chown(victim, value, -1)
    else:
        if how == "group":
            os.chown(victim, -1, 1)
        victim.chmod(value)
    for verb in chosen(name, tuple(VERBS)):
        refused(attack(*words_of(verb, path)), tmp_path, mend)
    if how == "chown":  # whoever may become root by sudo gains nothing
        assert attack("check", path, SUDO_UID=str(value)).status == 0


@ROOT_ONLY
def test_root_obeys_no_link_that_somebody_else_can_turn(attack, tmp_path, shared):
    open_ = tmp_path / "open"
    open_.mkdir()
    open_.chmod(0o777)
    (open_ / "p.yaml").symlink_to(shared / "p.yaml")
    refused(attack("check", "./open/p.yaml"), tmp_path, "chmod o-w")
    (tmp_path / "p.yaml").symlink_to("open/p.yaml")
    refused(attack("check", "./p.yaml"), tmp_path, "chmod o-w")


@ROOT_ONLY
def test_in_a_folder_like_tmp_everybody_keeps_his_own(attack, tmp_path):
    folder = tmp_path / "tmp"
    folder.mkdir()
    folder.chmod(0o1777)
    mine = folder / "p.yaml"
    mine.write_text("extends: blame\n")
    assert attack("check", str(mine)).status == 0
    os.chown(mine, NOBODY, -1)
    refused(attack("check", str(mine)), tmp_path, "belongs to nobody")


@ROOT_ONLY
def test_root_lists_and_runs_nothing_of_a_folder_that_others_can_write(attack, tmp_path):
    folder = tmp_path / "config/mmaplock-bt/profiles"
    attack.write("config/mmaplock-bt/profiles/mine.yaml", "extends: blame\ndescription: x\n")
    assert attack("list").status == 0
    folder.chmod(0o777)
    for words in (("list",), ("show", "mine"), ("run", "mine", *NO_BPFTRACE)):
        refused(attack(*words), tmp_path, "chmod o-w")
