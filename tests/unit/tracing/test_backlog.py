"""What is remembered of a stream for the case of a fault."""

from hypothesis import given
from hypothesis import strategies as st

from mmaplock_bt.tracing.backlog import GAP, Backlog

LONGEST = 9


@given(st.lists(st.integers(0, 9), max_size=9), st.integers(0, 70), st.integers(LONGEST, 70))
def test_the_first_and_the_last_lines_and_how_many_are_missing(sizes, first, last):
    backlog, every, most_at_once = Backlog(first, last), [], 0
    for size in sizes:
        lines = [f"line {len(every) + n}"[:LONGEST] for n in range(size)]
        backlog.add(lines)
        every += lines
        most_at_once = max(most_at_once, sum(map(len, lines)))
    kept = backlog.lines()
    gap = next((at for at, line in enumerate(kept) if line.startswith(GAP)), None)
    if gap is None:
        assert kept == every
        return
    head, tail = kept[:gap], kept[gap + 1 :]
    assert head == every[: len(head)] and tail == every[-len(tail) :]
    assert kept[gap] == f"{GAP}{len(every) - len(head) - len(tail)}"
    assert first <= sum(map(len, head)) < first + max(1, most_at_once) or not head
    assert sum(map(len, tail)) <= last < sum(map(len, every[len(head) :]))
    assert sum(map(len, tail)) + LONGEST > last
