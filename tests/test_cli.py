"""Bad input: one sentence, the contract's exit code, never a traceback."""

import subprocess
from pathlib import Path

import pytest

CASES = [
    (2, ("run", "long-hold"), "did you mean 'long-holds'"),
    (2, ("run", "long-holds", "--set", "threshold=5"), "unit"),
    (2, ("run", "long-holds", "--set", "x=5ms"), "allowed: threshold"),
    (2, ("run", "/nonexistent/x.yaml"), "cannot read"),
    (2, ("run", "hold-times", "--", "nonexistentcmd"), "not found"),
    (2, ("run", "hold-times", "--comm", "x" * 16), "1 to 15 bytes"),
    (2, ("run", "hold-times", "-o", "x.foo"), ".json"),
    (2, ("run", "blame", "--trigger", "hold > 5"), "unit"),
    (2, ("run", "blame", "--trigger", "hold < 5ms"), "hold > TIME"),
    (2, ("run", "blame", "--trigger", "hold > 5ms", "--capture", "0"), "nothing would be captured"),
    (2, ("run", "blame", "--trigger", "hold > 5ms", "--", "true"), "takes no COMMAND"),
    (2, ("run", "blame", "--actor-pid", "1"), "takes no actor filter"),
    (2, ("run", "hold-times", "--cgroup", "/nonexistent/x"), "no such cgroup"),
    (2, ("run", "blame", "--trigger", "hold > 5ms", "--gate", "x.max < 5ms"), "no --gate"),
    (2, ("run", "hold-times", "--repeat", "3"), "needs a COMMAND or --duration"),
    (2, ("run", "hold-times", "--repeat", "0", "--", "true"), "at least 1 run"),
    (2, ("run", "hold-times", "--repeat", "2", "-o", "x.json", "--", "true"), "give a folder"),
    (2, ("run", "hold-times", "-o", "/nonexistent/x.json", "--", "true"), "there is no folder"),
    (2, ("run", "hold-times", "--add", "--", "true"), "--add needs the folder"),
    (2, ("run", "hold-times", "--ready-fd", "99", "--", "true"), "--ready-fd 99: Bad file"),
    (2, ("run", "hold-times", "--mode", "read", "--gate", "hold{mode=write}.max < 5ms"), "never"),
    (2, ("run", "hold-times", "--budget", "/nonexistent"), "cannot read the budget"),
    (2, ("gate", "/nonexistent", "--gate", "x"), "cannot read"),
    (2, ("gate", "/proc/self/fdinfo"), "no result file (*.json)"),
    (2, ("compare", "/nonexistent", "/nonexistent"), "cannot read"),
    (2, ("report", "/etc/passwd", "-o", "/tmp/"), "report makes no runs"),
    (2, ("report", "/etc/passwd"), "no result file"),
    (2, ("report", "/nonexistent"), "cannot read"),
    (3, ("run", "hold-times", "--bpftrace", "/nonexistent/bpftrace"), "apt-get install bpftrace"),
    (3, ("run", "hold-times", "--bpftrace", "/bin/cat"), "not bpftrace"),
]


@pytest.mark.parametrize(("code", "words", "said"), CASES, ids=[" ".join(c[1]) for c in CASES])
def test_one_sentence_and_the_code(cli, code, words, said):
    done = cli(*words)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert done.stdout == "" and "Traceback" not in done.stderr


@pytest.mark.kernel
def test_a_refused_script_is_kept_and_bpftraces_words_shown(cli, kernel, tmp_path):
    (tmp_path / "x.bt.j2").write_text(
        "{#\nquestion: q\noutputs: {x: {kind: counter, title: t}}\n#}\n"
        '{% extends "_mmap_lock.bt.j2" %}'
        "\n{% block hold_ended %}\n nonsense(;\n{% endblock %}\n"
    )
    (tmp_path / "x.yaml").write_text("template: ./x.bt.j2\n")
    done = cli("run", str(tmp_path / "x.yaml"), "-d", "1s")
    assert done.returncode == 4
    assert "syntax error" in done.stderr
    kept = Path(done.stderr.rsplit(" ", 1)[1].strip())
    assert "nonsense(;" in kept.read_text()
    kept.unlink()


@pytest.mark.kernel
def test_the_standalone_script_is_accepted_by_bpftrace(cli, kernel, tmp_path):
    for name in cli("list").stdout.split("\n")[:-1]:
        path = tmp_path / "x.bt"
        path.write_text(cli("script", name.split()[0]).stdout)
        done = subprocess.run(
            ["bpftrace", "-d", str(path)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


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
