"""Several runs on the terminal: what they have in common, and how far apart they are."""

import re

from mmaplock_bt.judging.series import Series
from mmaplock_bt.renderers import table
from tests.builders import run


def rows(text: str) -> dict[str, list[str]]:
    block = text.partition("Medians of ")[2].partition("\n\n")[0]
    lines = [re.split(r" {2,}", line.strip()) for line in block.splitlines()[2:]]
    return {line[0]: line[1:] for line in lines}


def test_medians_with_their_range():
    runs = tuple(run(*[top] * 50, 5_000) for top in (1_000_000, 3_000_000, 2_000_000))
    text = table.render(Series(runs))
    assert "Medians of 3 runs\n" in text
    told = rows(text)
    assert told["hold{mode=write}.max"] == ["2.00 ms", "1.00 ms", "3.00 ms", "100%"]
    assert told["hold{mode=write}.count"] == ["51", "51", "51", "0%"]
    assert told["hold{mode=write}.sum"] == ["100 ms", "50.0 ms", "150 ms", "100%"]
    assert max(map(len, text.splitlines())) < 80


def test_what_was_not_measured_is_no_row():
    assert "Medians" not in table.render(Series((run(5),))), "one run has no median"
    idle = table.render(Series((run(acquires=0), run(acquires=0))))
    assert rows(idle).keys() == {"long_holds.count"}, "it looked, and saw none"
