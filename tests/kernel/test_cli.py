"""Bad input that only a machine that can trace meets."""

from pathlib import Path

import pytest

from tests.kernel.processes import assert_accepted

pytestmark = pytest.mark.kernel


# The machine is looked at before these are.
CASES = [
    (2, ("run", "blame", "--actor-pid", "1"), "takes no actor filter"),
    (2, ("run", "blame", "-p", "2147483647"), "-p 2147483647: there is no such process"),
    (2, ("run", "hold-times", "--actor-pid", "2147483647"), "--actor-pid 2147483647: there is no"),
    (2, ("run", "hold-times", "--cgroup", "/nonexistent/x"), "no such cgroup"),
    (2, ("run", "hold-times", "--ready-fd", "99", "--", "true"), "--ready-fd 99: Bad file"),
    (3, ("run", "hold-times", "--bpftrace", "/nonexistent/bpftrace"), "apt-get install bpftrace"),
    (3, ("run", "hold-times", "--bpftrace", "/bin/cat"), "not bpftrace"),
]


@pytest.mark.parametrize(("code", "words", "said"), CASES, ids=[" ".join(c[1]) for c in CASES])
def test_one_sentence_and_the_code(cli, kernel, code, words, said):
    done = cli(*words)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert done.stdout == "" and "Traceback" not in done.stderr


def test_a_refused_script_is_kept_and_bpftraces_words_shown(cli, kernel, tmp_path):
    (tmp_path / "x.bt.j2").write_text(
        "{#\nquestion: q\noutputs: {x: {kind: counter, title: t}}\n#}\n"
        '{% extends "_mmap_lock.bt.j2" %}'
        '\n{% block hold_ended %}\n nonsense(;\n{{ record("x") }}\n{% endblock %}\n'
    )
    (tmp_path / "x.yaml").write_text("template: ./x.bt.j2\n")
    done = cli("run", str(tmp_path / "x.yaml"), "-d", "1s")
    assert done.returncode == 4
    assert "syntax error" in done.stderr
    kept = Path(done.stderr.rsplit(" ", 1)[1].strip())
    assert "nonsense(;" in kept.read_text()
    kept.unlink()


def test_the_standalone_script_is_accepted_by_bpftrace(cli, kernel, tmp_path):
    for name in cli("list").stdout.split("\n")[:-1]:
        path = tmp_path / "x.bt"
        path.write_text(cli("script", name.split()[0]).stdout)
        assert_accepted(kernel, path)
