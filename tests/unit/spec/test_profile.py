"""Profiles and templates of a user's own: resolved, or every fault with its place."""

import re

import pytest
from pydantic import ValidationError

from mmaplock_bt.errors import UsageError
from mmaplock_bt.machine import inventory
from mmaplock_bt.script import render
from mmaplock_bt.spec import budget, profile
from mmaplock_bt.spec.profile import Side
from tests.builders import ROOT

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
    readme = (ROOT / "README.md").read_text()
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


@pytest.mark.parametrize(
    ("base", "own", "keys"), [("", "", 16384), ("16", "", 16), ("64", "4194304", 4194304)]
)
def test_map_keys_are_inherited_and_reach_the_script(tmp_path, base, own, keys):
    def line(keys):
        return f"map_keys: {keys}\n" if keys else ""

    (tmp_path / "base.yaml").write_text(f"extends: hold-times\n{line(base)}")
    (tmp_path / "own.yaml").write_text(f"extends: ./base.yaml\n{line(own)}")
    chosen = profile.load(str(tmp_path / "own.yaml"))
    rendered = render.render(chosen, inventory.offline(), by_hand=True)
    assert rendered.map_keys == keys == render.render(chosen, inventory.offline()).map_keys
    assert f"BPFTRACE_MAX_MAP_KEYS={keys}" in rendered.text


@pytest.mark.parametrize("keys", ["15", "4194305", "-1", "many"])
def test_wrong_map_keys(tmp_path, keys):
    (tmp_path / "own.yaml").write_text(f"extends: hold-times\nmap_keys: {keys}\n")
    with pytest.raises(UsageError, match=r"own.yaml:2:1: map_keys"):
        profile.load(str(tmp_path / "own.yaml"))


def test_a_limit_on_the_overhead_is_inherited(tmp_path):
    (tmp_path / "base.yaml").write_text("extends: hold-times\nmax_overhead: 2%\n")
    for own, ppm in (("", 20_000), ("max_overhead: 0.5 %\n", 5_000)):
        (tmp_path / "own.yaml").write_text(f"extends: ./base.yaml\n{own}")
        found = profile.load(str(tmp_path / "own.yaml"))
        assert found.max_overhead_ppm == ppm and found.keeps_overhead
    assert profile.load("hold-times").max_overhead_ppm is None


@pytest.mark.parametrize("share", ["2", "2.5", "101%", "0%", "'2'", "[2%]", "true", "much"])
def test_wrong_limits_on_the_overhead(tmp_path, share):
    (tmp_path / "own.yaml").write_text(f"extends: hold-times\nmax_overhead: {share}\n")
    with pytest.raises(UsageError, match=r"own.yaml:2:1: max_overhead") as caught:
        profile.load(str(tmp_path / "own.yaml"))
    assert len(str(caught.value).splitlines()) == 1


def test_a_wrong_base_hides_no_other_wrong_share(tmp_path):
    (tmp_path / "own.yaml").write_text("extends: nothing\nsample: 2/3\nmax_overhead: much\n")
    with pytest.raises(UsageError) as error:
        profile.load(str(tmp_path / "own.yaml"))
    for place in (":1:1: extends", ":2:1: sample", ":3:1: max_overhead"):
        assert f"own.yaml{place}" in str(error.value)


def test_a_filter_takes_several_of_a_kind():
    one, several = Side(pid=[5]), Side(pid=[5, 6, 5], comm=["a", 7], cgroup="/x")
    assert (one.pid, one.pids) == (5, (5,)) and Side().pids == ()
    assert (several.pids, several.comms, several.cgroups) == ((5, 6), ("a", "7"), ("/x",))
    assert several.model_dump(mode="json", exclude_defaults=True)["pid"] == [5, 6]


@pytest.mark.parametrize(
    ("given", "said"),
    [({"pid": []}, "0 given"), ({"pid": list(range(1, 18))}, "17 given: a filter takes 1 to 16"),
     ({"pid": [1, "x"]}, "a pid is a number, not 'x'"), ({"pid": [0]}, "above 0"),
     ({"comm": ["a", "x" * 16]}, "1 to 15 bytes"), ({"cgroup": [1]}, "a cgroup is a path")],
)  # fmt: skip
def test_what_no_filter_takes(given, said):
    with pytest.raises(ValidationError, match=said):
        Side(**given)
