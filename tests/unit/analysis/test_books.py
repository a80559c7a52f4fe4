"""The books of each way to follow locks: what was not counted is None, not 0."""

from mmaplock_bt.analysis import analyse
from mmaplock_bt.stream.records import BITS, Trailer
from tests.builders import declared, head, map_line, printed, shown_as_table

TABLE = {"title": "X", "kind": "table", "unit": "ns", "keys": ["mode", "owner_pid"]}
HISTOGRAM = {"title": "H", "kind": "histogram", "unit": "ns", "keys": ["mode"], "totals": "x"}
CLOSED = [printed("open|5"), printed("close|9")]
OWNERS = [
    map_line("x", {"0,7": 5, "1,7": 3, "0,8": 3}),
    map_line("x_sum", {"0,7": 50, "1,7": 30, "0,8": 31}),
    map_line("x_max", {"0,7": 11, "1,7": 13, "0,8": 17}),
]


def result_of(books, *lines, **more):
    outputs = declared(x=TABLE | more, h=HISTOGRAM)
    first = vars(head(outputs)) | {"books": books}
    stream = [type(head(outputs))(**first).line(), *CLOSED, *lines]
    return analyse.analyse_lines([*stream, Trailer("duration", 1).line()])


def held(**spans):
    return map_line("holding", {key: 77 << BITS["HOLD_TIME"] for key in spans.values()})


def test_an_output_that_counts_every_hold_makes_the_books():
    """11 holds ended, 2 of them by a downgrade; 1 is open; 1 read was nested."""
    kept = result_of(
        ["downgrades", "orphan_releases", "open_holds", "nested", "written_off"],
        *OWNERS,
        map_line("book_downgrades", {"": 2}),
        map_line("book_nested", {"": 1}),
        held(one="4,9"),
        every="hold",
    ).books
    assert (kept.acquires, kept.releases, kept.downgrades, kept.open_holds) == (13, 10, 2, 1)
    assert kept.acquires == kept.releases + kept.downgrades + kept.open_holds
    assert kept.starts is kept.failed is kept.open_waits is kept.spinning is None
    assert kept.residue == 0


def test_a_hold_that_was_written_off_is_residue():
    books = ["open_holds", "written_off"]
    kept = result_of(books, *OWNERS, map_line("book_written_off", {"": 1}), every="hold").books
    assert kept.residue == 1


def test_an_output_that_counts_every_wait_does_too():
    names = ["starts", "failed", "open_waits"]
    counts = [map_line("book_starts", {"": 13}), map_line("book_failed", {"": 2})]
    result = result_of(names, *OWNERS, *counts, every="wait")
    assert (result.books.acquires, result.books.residue) == (11, 0)
    assert result.books.releases is result.books.open_holds is None
    assert "books: starts 13 = acquires 11 + failed 2 + open waits 0;" in shown_as_table(result)


def test_contended_locks_have_books_of_their_own():
    names = ["starts", "acquires", "failed", "releases", "open_waits", "spinning"]
    counts = {"starts": 7, "acquires": 4, "failed": 1, "releases": 19, "spinning": 3}
    lines = [map_line(f"book_{name}", {"": n}) for name, n in counts.items()]
    one_left = result_of(names, *lines, map_line("waiting", {"4,9": 5}), held(one="4,9"))
    assert one_left.books.residue == 1 and one_left.books.open_holds is None
    balanced = result_of(names, *lines, map_line("waiting", {"4,9": 5, "5,9": 5}))
    assert balanced.books.residue == 0 and balanced.books.spinning == 3


def test_a_window_in_which_nothing_was_counted_is_measured():
    """0.25 prints no map that stayed empty."""
    assert result_of(["starts", "open_waits"]).books.starts == 0


def test_the_histograms_sums_are_the_tables():
    counts = map_line("h", {"0,8": 5, "0,10": 3, "1,10": 3})
    rows = result_of(["open_holds"], *OWNERS, counts).histogram("h")
    assert [(r["key"]["mode"], r["count"], r["sum"], r["max"]) for r in rows] == [
        ("read", 8, 81, 17),
        ("write", 3, 30, 13),
    ]
