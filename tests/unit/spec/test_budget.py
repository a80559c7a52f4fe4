"""Budget files: gates that are kept beside the code."""

import pytest

from mmaplock_bt.errors import UsageError
from mmaplock_bt.spec import budget, profile
from tests.builders import LONG_HOLDS
from tests.shell import EXAMPLES

BUDGET = """\
description: what the team agreed on
gates:
  - hold{mode=write}.p99 < 5ms
  - warn: long_holds.count == 0
    min_samples: 100
  - error: "hold.max <= 50ms"
"""


def test_a_budget(tmp_path):
    path = tmp_path / "budget.yaml"
    path.write_text(BUDGET)
    found = budget.load(str(path), LONG_HOLDS)
    assert [(g.level, g.min_samples, g.limit) for g in found] == [
        ("error", 1, 5_000_000),
        ("warn", 100, 0),
        ("error", 1, 50_000_000),
    ]
    assert [(g.source.file, g.source.line, g.source.column) for g in found] == [
        (str(path), line, 5) for line in (3, 4, 6)
    ]


WRONG = """\
gates:
  - hold{mode=write}.p98 < 5ms
  - warn: hold.p99 < 5
  - error: "hold.max <= 5 parsecs"
  - warn: hold.max < 5ms
    error: hold.max < 5ms
  - error: hold.max < 5ms
    min_samples: 0
  - 5
  - fatal: hold.max < 5ms
"""


def test_every_fault_of_a_budget_with_line_and_column(tmp_path):
    path = tmp_path / "budget.yaml"
    path.write_text(WRONG)
    with pytest.raises(UsageError) as caught:
        budget.load(str(path), LONG_HOLDS)
    lines = str(caught.value).removeprefix(f"{path}:").split(f"\n{path}:")
    assert [line.split(" ")[0] for line in lines] == ["5:5:", "7:5:", "9:5:", "10:5:"]
    path.write_text("\n".join(WRONG.splitlines()[:4]))
    with pytest.raises(UsageError) as caught:
        budget.load(str(path), LONG_HOLDS)
    lines = str(caught.value).removeprefix(f"{path}:").split(f"\n{path}:")
    assert [line.split(" ")[0] for line in lines] == ["2:22:", "3:22:", "4:25:"]


def test_the_budget_fits_the_profile_that_the_examples_run():
    outputs = profile.load("hold-times").template.declaration.outputs
    assert len(budget.load(str(EXAMPLES / "budget.yaml"), outputs)) == 3
