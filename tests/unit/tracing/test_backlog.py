"""What is remembered of a stream for the case of a fault."""

from hypothesis import given
from hypothesis import strategies as st

from mmaplock_bt.tracing.backlog import GAP, Backlog


@given(st.lists(st.integers(0, 9), max_size=9), st.integers(0, 7), st.integers(1, 7))
def test_the_first_and_the_last_lines_and_how_many_are_missing(sizes, first, last):
    backlog, every = Backlog(first, last), []
    for size in sizes:
        lines = [f"line {len(every) + n}" for n in range(size)]
        backlog.add(lines)
        every += lines
    missing = len(every) - first - last
    if missing > 0:
        assert backlog.lines() == [*every[:first], f"{GAP}{missing}", *every[-last:]]
    else:
        assert backlog.lines() == every
