"""Every format of a comparison, over hostile runs."""

import json
import re
from dataclasses import replace

import pytest

from mmaplock_bt.judging import comparison
from mmaplock_bt.judging.comparison import Rules
from mmaplock_bt.renderers import changes
from mmaplock_bt.spec import tolerances
from tests.builders import LONG_HOLDS, noisy

RULES = Rules(tolerance=tolerances.parse("+10% and +1us"))


def compared(base, new, *conditions: str, **more):
    wanted = [tolerances.parse_condition(text, LONG_HOLDS) for text in conditions]
    return comparison.compare(base, new, RULES, wanted, **more)


@pytest.mark.parametrize("name", changes.FORMATS)
@pytest.mark.parametrize("conditions", [(), ("hold.p99:+10%", "long_holds{comm=a|b`}.count:+1%")])
def test_every_format_over_hostile_runs(name, conditions):
    hostile = [replace(one, target=replace(one.target, kernel="6.18|`<b>\x1b[31m@all"))
               for one in noisy(2, 1.5)]  # fmt: skip
    for base, new in ((noisy(1), hostile), (noisy(1, runs=1), hostile)):
        made = compared(base, new, *conditions, allow_different=True)
        text = changes.FORMATS[name](made, False)
        assert "\x1b" not in text and text.endswith("\n")
    if name == "markdown":
        rows = [line for line in text.splitlines() if line.startswith("|")]
        assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} <= {7, 8}
    if name == "json":
        told = json.loads(text)
        assert told["runs"] == {"base": 1, "new": 10}
        assert [v["outcome"] for v in told["verdicts"]] == ["inconclusive"] * len(conditions)
