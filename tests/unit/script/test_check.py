"""Every mistake that `check` promises to tell, with its place."""

import re

import pytest

from mmaplock_bt import resources
from mmaplock_bt.cli import main
from mmaplock_bt.script import check
from mmaplock_bt.spec import declaration
from mmaplock_bt.spec.plain_yaml import Faults

GOOD = """\
{#
question: How long?
params:
  least: {type: duration, default: 1ms}
outputs:
  hold: {kind: histogram, title: Hold, unit: ns, keys: [mode]}
  long: {kind: events, title: Long, unit: ns, rank: hold_ns, fields: [time_ns, hold_ns, owner_pid]}
#}
{% extends "_mmap_lock.bt.j2" %}
{% block hold_ended %}
{{ owner() }}
  if ($owner_pid != 0 && $hold_ns >= {{ params.least }}) { {{ record("long") }} }
{{ record("hold", "$hold_ns") }}
{% endblock %}
"""
EXTENDS = '{% extends "_mmap_lock.bt.j2" %}\n'
WRONG = [
    (("block hold_ended", "block hold_endd"), "10:10: no block 'hold_endd', allowed: wait_began"),
    ((EXTENDS, ""), 'no {% extends "_mmap_lock.bt.j2" %}: nothing would be traced'),
    ((EXTENDS, EXTENDS + "probe {}\n"), "10:1: outside any block: it is not rendered"),
    (("_mmap_lock.bt.j2", "_trap.bt.j2"), "9:13: extend '_mmap_lock.bt.j2'"),
    (('{{ record("hold", "$hold_ns") }}\n', ""), "6:3: outputs.hold: it is never recorded"),
    (('record("long")', 'record("lang")'), "no output 'lang' is declared, allowed: hold, long"),
    (('"hold", "$hold_ns"', '"hold"'), '13:11: record("hold") counts nothing'),
    (("{{ owner() }}\n", ""), "11:7: $owner_pid is known after {{ owner() }} only"),
    (("block hold_ended", "block wait_ended"), "12:26: no value $hold_ns in 'wait_ended', which"),
    (("$hold_ns >=", "$held_ns >="), "no value $held_ns in 'hold_ended', which has $now"),
    (("params.least", "params.leest"), "12:41: no parameter 'leest' is declared, allowed: least"),
    (("unit: ns, keys", "unit: s, keys"), "6:40: outputs.hold.unit: input should be 'count', 'ns'"),
    (("hold_ns, owner_pid]", "hold_ns, readers]"), "nothing fills the column 'readers'"),
    (("  long:", "  whose:"), "7:3: outputs.whose: the name 'whose' is taken by the base"),
    (("  long:", "  book_starts:"), "the name 'book_starts' is taken by the base template"),
    (("  long:", "  hold_sum:"), "7:3: outputs.hold_sum: the output 'hold' keeps figures in a map"),
    (("rank: hold_ns", "rank: held"), "outputs.long.rank: it has no column 'held', allowed:"),
    (("kind: histogram", "kind: histo"), "outputs.hold: its `kind` is one of histogram, table"),
    (("keys: [mode]", "keys: [comm]"), "a key holds integers only"),
    (("{% endblock %}", ""), "not Jinja"),
]  # fmt: skip


def faults_of(source: str) -> str:
    with pytest.raises(Faults) as caught:
        check.template(declaration.parse(source, "x", "x.bt.j2"))
    return str(caught.value)


@pytest.mark.parametrize(("change", "said"), WRONG, ids=[said for _, said in WRONG])
def test_a_mistake_is_told_with_its_place(change, said):
    source = GOOD.replace(*change)
    assert source != GOOD
    text = faults_of(source)
    assert said in text
    assert all(re.match(r"x\.bt\.j2:\d+:\d+: ", line) for line in text.split("\n"))


def test_nothing_is_said_of_a_good_one():
    check.template(declaration.parse(GOOD, "x", "x.bt.j2"))


@pytest.mark.parametrize("name", [*resources.shipped_names("templates", ".bt.j2"), "_trap"])
def test_nothing_is_said_of_shipped_ones(name):
    check.template(declaration.shipped(name))


def test_all_at_once_in_the_files_order():
    source = GOOD.replace("params.least", "params.leest").replace("{{ owner() }}\n", "// none\n")
    source = source.replace("  long:", "  whose:")
    places = re.findall(r"^x\.bt\.j2:(\d+):", faults_of(source), re.MULTILINE)
    assert len(places) >= 4 and places == sorted(places, key=int)


GROUPED = """\
{#
question: q
outputs:
  long: {kind: events, title: L, unit: ns, fields: [time_ns, hold_ns, cause, pid]}
  by_cause: {kind: table, title: G, unit: ns, of: long, value: hold_ns, keys: [cause]}
#}
"""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("value: hold_ns", "value: held"), "5:57: outputs.by_cause.value: 'long' has no column"),
        (("keys: [cause]", "keys: [mode]"), "outputs.by_cause.keys: 'long' has no column 'mode'"),
        (("of: long", "of: lang"), "outputs.by_cause: it is made from 'lang', which is no output"),
    ],
)
def test_what_is_made_of_others_names_what_is_there(change, said):
    with pytest.raises(Faults, match=re.escape(said)):
        declaration.parse(GROUPED.replace(*change), "x", "x.bt.j2")


def test_the_command_tells_them_and_a_wrong_extends_hides_no_other(tmp_path, capsys):
    (tmp_path / "x.bt.j2").write_text(GOOD.replace("block hold_ended", "block hold_endd"))
    (tmp_path / "x.yaml").write_text("template: ./x.bt.j2\n")
    assert main(["check", str(tmp_path / "x.yaml")]) == 2
    assert "x.bt.j2:10:10: no block 'hold_endd'" in capsys.readouterr().err
    (tmp_path / "y.yaml").write_text("extends: nosuch\nduration: 3 parsecs\ngates: [hold.p99 <]\n")
    assert main(["check", str(tmp_path / "y.yaml")]) == 2
    told = capsys.readouterr().err
    assert [f"y.yaml:{line}:" in told for line in (1, 2, 3)] == [True] * 3
