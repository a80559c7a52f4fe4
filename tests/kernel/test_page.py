"""The page of a real window says what its result does: convoys, times held, counts."""

import json
import re

import pytest

from mmaplock_bt import workload
from mmaplock_bt.judging import series
from tests.unit.renderers.test_exports import told
from tests.unit.renderers.test_page import Tree

pytestmark = pytest.mark.kernel


@pytest.fixture
def paged(cli, kernel, tmp_path):
    """Returns a function that traces a workload and returns its result and its page."""

    def trace(profile, *words):
        page, saved = tmp_path / "r.html", tmp_path / "r.json"
        done = cli("run", profile, "-o", str(page), "-o", str(saved), "--force", "--",
                   *workload.command(*words))  # fmt: skip
        assert done.returncode == 0, done.stderr
        (result,) = series.load(str(saved))
        assert series.load(str(page)) == [result]
        return result, Tree(page.read_text())

    return trace


def view_of(tree):
    return json.loads(tree.of("script", id="view")[0][""])


def check_flames(result, tree):
    """To the ns: what is held and waited for in the graphs, and in what scripts draw them of."""
    _, held_ns, waited_ns = told(result)
    roots = {one["id"]: int(one["data-root"]) for one in tree.of("figure")}
    assert roots == {"flame-held": held_ns, "flame-waited": waited_ns} and held_ns > 0
    weights = view_of(tree)["weights"]
    assert [sum(row[at] for row in weights) for at in (1, 2)] == [held_ns, waited_ns]


def members(tree):
    """Of each bracket the threads: who held, and who queued."""
    view = view_of(tree)

    def thread(number):
        who = view["text"][view["spans"][int(number)][4]]
        return int(re.search(r"(\d+)\]?$", who)[1])

    return sorted(
        (thread(one["data-hold"]), sorted(map(thread, one["data-waits"].split())))
        for one in tree.of("svg", class_="bracket")
    )


def test_a_bracket_has_the_reader_the_writer_and_the_readers_behind_it(paged):
    """Of three windows one must have readers behind the writer: a thread may get no CPU."""
    for _ in range(3):
        result, tree = paged("convoys", "convoy", 7, 2048)
        rows = result.events("convoys")
        wanted = sorted((row["tid"], sorted(one["tid"] for one in row["queued"])) for row in rows)
        assert members(tree) == wanted
        said = " ".join(one["aria-label"] for one in tree.of("svg", class_="bracket"))
        for row in rows:
            writer = f"writer {row['writer_comm']}[{row['writer_pid']}] thread {row['writer_tid']}"
            assert writer in said
            assert row["writer_tid"] in {one["tid"] for one in row["queued"]}
        check_flames(result, tree)
        if any(row["readers"] >= 2 for row in rows):
            return
    raise AssertionError("no window had a convoy with two readers")


def test_blame_weighs_holds_and_waits_to_the_nanosecond(paged):
    result, tree = paged("blame", "convoy", 5, 1024)
    check_flames(result, tree)
    assert told(result)[2] > 0
    spans = view_of(tree)["spans"]
    open_spans = [row for row in result.events("still_open") if row["ended"] != "yes"]
    kept = len(result.events("holds")) + len(result.events("waits")) + len(open_spans)
    assert len(spans) == kept == len(tree.of("rect", class_="bar"))
    cells = [cells_of(tree, kind) for kind in ("hold", "wait")]
    assert sum(cells) == kept


def cells_of(tree, name):
    """How many values all cells of a heat map have together."""
    (drawn,) = tree.of("svg", class_=name)
    return sum(
        int(one.replace(",", "")) for one in re.findall(r"([\d,]+) of [\d.]+ .?s to", drawn[""])
    )


def test_the_heat_map_has_what_the_books_count(paged):
    """Every hold that ended, by release or downgrade, is in one cell."""
    result, tree = paged("hold-times", "convoy", 5, 1024)
    counts = sum(row["count"] for row in result.histogram("hold"))
    assert result.books.residue == 0 and result.loss.complete
    assert cells_of(tree, "hold") == counts == result.books.releases + result.books.downgrades > 0
