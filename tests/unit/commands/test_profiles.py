"""show and check, for people and for programs."""

import json

import pytest

from mmaplock_bt.spec import profile


@pytest.fixture
def mine(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return str(path)

    return write


TEMPLATE = """{{#
question: what cat("x") says
outputs: {{x: {{kind: counter, title: t}}}}
#}}
{{# system("x") is refused #}}
{{% extends "_mmap_lock.bt.j2" %}}
{{% block hold_ended %}}
{{{{ record("x") }}}}
{0}
{{% endblock %}}
"""


@pytest.mark.parametrize(
    "reached",
    [
        ('cat("/etc/shadow");', "cat", "x.bt.j2:9", "prints a file"),
        ('  system ("id");', "system", "x.bt.j2:9", "runs a program (bpftrace refuses it"),
        ("# include </etc/shadow>", "#include", "x.bt.j2:9", "has a file read"),
        ('{{ "ca" ~ "t(" }}"/etc/shadow");', "cat", "the rendered script", "prints a file"),
        ('{{ "#inc" ~ "lude" }} </etc/shadow>', "#include", "the rendered script", "has a file"),
    ],
)
def test_check_names_what_reaches_further_than_tracing(cli, tmp_path, reached):
    line, call, place, what = reached
    (tmp_path / "x.bt.j2").write_text(TEMPLATE.format(line))
    path = tmp_path / "p.yaml"
    path.write_text("template: ./x.bt.j2\n")
    told = cli("check", str(path)).stdout.splitlines()
    assert len(told) == 2 and f"{place}: {call} {what}" in told[1]
    (found,) = json.loads(cli("check", str(path), "--json").stdout)["reach"]
    assert found["call"] == call and found["line"] == (9 if place[-1] == "9" else None)


@pytest.mark.parametrize("line", ["$cat = 1;", "@system[1] = count();", "// concat (x)", "signals"])
def test_what_only_looks_like_such_a_call(cli, tmp_path, line):
    (tmp_path / "x.bt.j2").write_text(TEMPLATE.format(line))
    (tmp_path / "p.yaml").write_text("template: ./x.bt.j2\n")
    assert len(cli("check", str(tmp_path / "p.yaml")).stdout.splitlines()) == 1


def test_show_prints_no_escape_of_a_profiles(cli, mine):
    path = mine('extends: blame\ndescription: "a\\e[31m\\n::set-output name=x::y"\n')
    text = cli("show", path).stdout
    assert "\x1b" not in text and r"a\x1b[31m\n::set-output" in text


@pytest.mark.parametrize("name", profile.names())
def test_show_tells_programs_what_a_run_would_use(cli, name):
    told = json.loads(cli("show", name, "--json").stdout)
    chosen = profile.load(name)
    declared = chosen.template.declaration
    assert told["schema"] == 1 and told["name"] == name
    assert {n: one["value"] for n, one in told["params"].items()} == chosen.params
    assert told["outputs"].keys() == declared.outputs.keys()
    assert told["locks"] == declared.locks[0]


def test_show_tells_the_filter_in_words(cli, mine):
    path = mine(
        "extends: long-holds\n"
        "filter: {owner: {pid: [5, 6], descendants: true}, actor: {comm: ps}, mode: read}\n"
        "gates: [long_holds.count == 0]\n"
    )
    text = cli("show", path).stdout
    line = "filter:   mode read, owner pid 5 or 6, owner descendants, actor comm ps\n"
    assert line in text
    assert "from 1 sample on" in text
    told = json.loads(cli("show", path, "--json").stdout)
    assert told["filter"]["owner"] == {"pid": [5, 6], "descendants": True}
    assert [one["gate"] for one in told["gates"]] == ["long_holds.count == 0"]


def test_check_for_programs(cli, mine):
    path = mine("extends: long-holds\ngates: [long_holds.count == 0]\n")
    done = cli("check", path, "--json")
    told = json.loads(done.stdout)
    assert done.returncode == 0 and told["valid"] and told["faults"] == []
    assert (told["template"], told["gates"]) == ("long-holds", 1)
    assert cli("check", path).stdout.endswith("template long-holds, 1 gate\n")


def test_check_tells_programs_every_fault_with_its_place(cli, mine):
    path = mine("extends: long-holds\nduration: 5\nparams: {x: 1}\n")
    done = cli("check", path, "--json", "--gate", "x")
    assert done.returncode == 2 and done.stderr == ""
    told = json.loads(done.stdout)
    assert not told["valid"]
    places = [(one["file"], one["line"], one["column"]) for one in told["faults"]]
    assert places == [(path, 2, 1), (path, 3, 10)]
    assert "unknown parameter 'x'" in told["faults"][1]["message"]
    lost = json.loads(cli("check", "/nonexistent/x.yaml", "--json").stdout)
    assert lost["faults"][0]["line"] is None and "cannot read" in lost["faults"][0]["message"]
