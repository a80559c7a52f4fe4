import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmaplock_bt import resources
from mmaplock_bt.commands import selftest
from mmaplock_bt.errors import UsageError
from mmaplock_bt.machine import inventory
from mmaplock_bt.script import render
from mmaplock_bt.spec import budget, declaration, profile
from mmaplock_bt.units import format_ns, parse_duration

EXAMPLE = """\
extends: long-holds
description: holds of mysqld's address space over 5 ms
duration: 30s
filter:
  owner: {comm: mysqld}
  mode: write
params:
  threshold: 5ms
  kernel_stack: 24
gates:
  - hold{mode=write}.max < 50ms
  - long_holds.count == 0
"""
WRONG = """\
extends: long-holds
duration: 10 parsecs
colour: red
filter:
  owner: {comm: averyveryverylongname, uid: 3}
  mode: sideways
params:
  threshold: 5
  threshld: 5ms
  threshold: 6ms
gates:
  - hold{mode=write}.max < 50
  - nothing.count == 0
"""


def test_a_users_profile_resolves(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(EXAMPLE)
    mine = profile.load(str(path))
    assert mine.params == {"threshold": 5_000_000, "kernel_stack": 24, "user_stack": 12}
    assert mine.duration_ns == 30 * 10**9
    assert mine.filter.owner.comm == "mysqld" and mine.filter.mode == "write"
    assert [gate.limit for gate in mine.gates] == [50_000_000, 0]
    assert '"mysqld"' in render.render(mine, inventory.offline()).text


def test_all_faults_at_once_with_line_and_column(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(WRONG)
    with pytest.raises(UsageError) as caught:
        profile.load(str(path))
    places = [line.removeprefix(f"{path}:").split(" ")[0] for line in str(caught.value).split("\n")]
    assert places == ["2:1:", "3:1:", "5:11:", "5:40:", "6:3:", "8:3:", "9:3:", "10:3:", "12:28:",
                      "13:5:"]  # fmt: skip


@pytest.mark.parametrize("name", profile.names())
def test_every_shipped_profile_renders_in_few_columns(name):
    """Only a printf is longer: its format and its arguments are one statement on one line."""
    text = render.render(profile.load(name), inventory.offline()).text
    assert text.startswith("#!/usr/bin/env bpftrace\n/*\n * " + name)
    assert text.count("{") == text.count("}")
    long = [line.strip() for line in text.splitlines() if len(line) > 100]
    assert [line for line in long if not line.startswith("printf(")] == []


def test_a_wrapped_header_says_the_same(monkeypatch):
    """Wrapping parts words and fields, and loses none."""
    chosen = profile.load("writer-starvation")
    wrapped = render.render(chosen, inventory.offline()).text
    monkeypatch.setattr(render, "HEADER_COLUMNS", 10_000)
    whole = render.render(chosen, inventory.offline()).text
    assert len(wrapped.splitlines()) > len(whole.splitlines())
    assert re.sub(r"\n \*|\s", "", wrapped) == re.sub(r"\n \*|\s", "", whole)


def test_a_ten_line_template_beside_a_profile(tmp_path):
    (tmp_path / "big.bt.j2").write_text(
        """{#
question: Which processes wait longest to write?
outputs:
  writers: {kind: table, title: Write waits, unit: ns, rank: sum, keys: [pid]}
#}
{% extends "_mmap_lock.bt.j2" %}
{% block wait_ended %}
  if ($mode == 1) { {{ record("writers", "$wait_ns") }} }
{% endblock %}
"""
    )
    (tmp_path / "p.yaml").write_text("template: ./big.bt.j2\n")
    rendered = render.render(profile.load(str(tmp_path / "p.yaml")), inventory.offline())
    assert "@writers_sum[(uint64)pid] = sum($wait_ns);" in rendered.text


def test_the_readmes_profile_template_and_gates_work(tmp_path):
    readme = (Path(__file__).resolve().parent.parent / "README.md").read_text()
    limits, mine = re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)
    (own,) = re.findall(r"```jinja\n(.*?)```", readme, re.DOTALL)
    assert len(own.splitlines()) <= 10
    (tmp_path / "mysqld.yaml").write_text(mine)
    (tmp_path / "write-waits.bt.j2").write_text(own)
    (tmp_path / "write-waits.yaml").write_text("template: ./write-waits.bt.j2\n")
    for name in ("mysqld.yaml", "write-waits.yaml"):
        assert render.render(profile.load(str(tmp_path / name)), inventory.offline()).text
    (tmp_path / "budget.yaml").write_text(limits)
    outputs = profile.load("hold-times").template.declaration.outputs
    assert len(budget.load(str(tmp_path / "budget.yaml"), outputs)) == 3


def test_a_template_cannot_reach_python(tmp_path):
    source = (
        "{#\nquestion: q\noutputs: {x: {kind: counter, title: t}}\n#}\n{{ ''.__class__.mro() }}"
    )
    used = declaration.parse(source, "x", "x.bt.j2")
    with pytest.raises(UsageError, match="does not render"):
        render.render(profile.Profile("x", used), inventory.offline())


@given(st.text(min_size=1))
def test_text_goes_into_a_script_quoted_or_not_at_all(text):
    try:
        quoted = render.quote(text)
    except UsageError:
        return
    assert quoted[1:-1] == text
    assert not set(quoted[1:-1]) & set('"\\\n\r\0')


@pytest.mark.parametrize(
    ("text", "ns"), [("500us", 500_000), ("1.5s", 1_500_000_000), ("10 ms", 10_000_000), ("0", 0)]
)
def test_durations(text, ns):
    assert parse_duration(text) == ns


@pytest.mark.parametrize("text", ["5", "ms", "1.5ns", "-3ms", "1:30", "10 parsecs", "1e3ms", ""])
def test_wrong_durations(text):
    with pytest.raises(UsageError):
        parse_duration(text)


@given(st.integers(0, 10**15))
def test_formatted_times_are_short(ns):
    assert len(format_ns(ns)) <= 12


@pytest.mark.parametrize(
    ("base", "own", "keys"), [("", "", 16384), ("64", "", 64), ("64", "4194304", 4194304)]
)
def test_map_keys_are_inherited_and_reach_the_script(tmp_path, base, own, keys):
    def line(keys):
        return f"map_keys: {keys}\n" if keys else ""

    (tmp_path / "base.yaml").write_text(f"extends: hold-times\n{line(base)}")
    (tmp_path / "own.yaml").write_text(f"extends: ./base.yaml\n{line(own)}")
    rendered = render.render(profile.load(str(tmp_path / "own.yaml")), inventory.offline())
    assert rendered.map_keys == keys
    assert f"BPFTRACE_MAX_MAP_KEYS={keys}" in rendered.text


@pytest.mark.parametrize("keys", ["63", "4194305", "-1", "many"])
def test_wrong_map_keys(tmp_path, keys):
    (tmp_path / "own.yaml").write_text(f"extends: hold-times\nmap_keys: {keys}\n")
    with pytest.raises(UsageError, match=r"own.yaml:2:1: map_keys"):
        profile.load(str(tmp_path / "own.yaml"))


def test_every_shipped_profile_has_a_case_in_the_self_test():
    """The matrices of bpftraces and kernels run what the self-test runs."""
    shipped = resources.shipped_names("profiles", ".yaml")
    assert sorted({case.profile for case in selftest.cases()}) == shipped
