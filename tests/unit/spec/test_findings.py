"""Rules of findings: faults are told with their place."""

import pytest

from mmaplock_bt.errors import UsageError
from mmaplock_bt.spec import declaration

TEMPLATE = """{#
question: Who?
findings:
  - of: %(of)s
    harm: waited
    says: "%(says)s"
    %(more)s
calm:
  - {when: "%(when)s", says: Nobody.}
outputs:
  hold:
    kind: histogram
    title: Holds
    unit: ns
    keys: [mode]
  pairs:
    kind: table
    title: Pairs
    unit: ns
    keys: [pid, mode]
#}
{%% extends "_mmap_lock.bt.j2" %%}
"""
GOOD = {
    "of": "pairs",
    "says": "{comm} {total} {share}",
    "more": "run: blame",
    "when": "hold.count == 0",
}


def parsed(**changes):
    return declaration.parse(TEMPLATE % (GOOD | changes), "mine", "mine.bt.j2").declaration


def test_what_a_key_brings_along_has_a_name_too():
    (rule,) = parsed().findings
    assert rule.names == {"comm", "total", "share"}


FAULTS = [
    ({"of": "hold"}, "4", "'hold' is no output of kind table or events"),
    ({"of": "nothing"}, "4", "'nothing' is no output"),
    ({"says": "{colour}"}, "6", "it has no 'colour', allowed: victim, culprit"),
    ({"says": "{comm"}, "6", "its braces are wrong"),
    ({"says": "{comm:>999999999}"}, "6", "only names"),
    ({"says": "{comm.__class__}"}, "6", "it has no 'comm.__class__'"),
    ({"says": "{comm!r}"}, "6", "only names"),
    ({"says": "{}"}, "6", "it has no ''"),
    ({"more": "total: length"}, "7", "'pairs' has no column 'length'"),
    ({"more": "culprit: {name: who}"}, "7", "'pairs' has no column 'who'"),
    ({"more": "where: {colour: red}"}, "7", "'pairs' has no column 'colour'"),
    ({"more": "least: much"}, "7", "is no share of the window"),
    ({"more": "times: hold"}, "7", "is not singular|plural"),
    ({"when": "holds.count == 0"}, "9", "holds"),
]


@pytest.mark.parametrize(("changes", "line", "says"), FAULTS)
def test_a_fault_has_its_place(changes, line, says):
    with pytest.raises(UsageError) as told:
        parsed(**changes)
    assert f"mine.bt.j2:{line}:" in str(told.value) and says in str(told.value)


def test_what_to_run_next_is_no_output_any_more():
    text = """{#
question: Who?
outputs:
  next:
    kind: events
    title: Next
    fields: [run, why]
    advice: [{when: "books.starts > 0", run: blame, why: so}]
#}
"""
    with pytest.raises(UsageError, match="said by `findings:`"):
        declaration.parse(text, "mine", "mine.bt.j2")
