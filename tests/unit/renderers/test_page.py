"""The HTML page: what is drawn in it is what the result says, whatever the result holds."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from mmaplock_bt import renderers
from mmaplock_bt.errors import UsageError
from mmaplock_bt.judging import series
from mmaplock_bt.judging.series import Series
from mmaplock_bt.renderers import stack_weights
from mmaplock_bt.renderers.page import blame, heat, sheets, spans, timeline, view
from mmaplock_bt.renderers.slices import Slice
from mmaplock_bt.result import embedded
from mmaplock_bt.result.model import EventsData, Timeline
from mmaplock_bt.result.rows import Cell
from mmaplock_bt.units import format_ns
from tests import story
from tests.builders import CONTROLS, NASTY, SAID, nasty
from tests.unit.renderers.test_exports import told

HOSTILE_TAG = "</script><img src=x onerror=alert(1)>"
VOID = {"meta", "br", "input", "img", "link", "hr"}


class Tree(HTMLParser):
    """Elements as (name, attributes, text), and which were never closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.open: list[int] = []
        self.faults: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        assert len(attrs) == len(dict(attrs)), f"{tag}: an attribute twice"
        self.found.append((tag, dict(attrs), []))
        if tag not in VOID:
            self.open.append(len(self.found) - 1)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs), []))

    def handle_endtag(self, tag):
        if not self.open or self.found[self.open[-1]][0] != tag:
            self.faults.append(tag)
        else:
            self.open.pop()

    def handle_data(self, data):
        for at in self.open:
            self.found[at][2].append(data)

    def of(self, tag, **wanted):
        """Attributes of elements with these; class_ is one of their classes."""
        wanted = {name.rstrip("_"): value for name, value in wanted.items()}
        return [
            attributes | {"": "".join(text)}
            for name, attributes, text in self.found
            if name == tag
            and all(value in (attributes.get(key) or "").split() for key, value in wanted.items())
        ]


def page(*runs, gates=()) -> str:
    text = renderers.rendered(Series(runs, gates), "html")
    assert isinstance(text, str)
    return text


def with_rows(run, name, rows, total=None):
    """The run with other rows in an events output."""
    data = run.outputs[name]
    assert isinstance(data, EventsData)
    object.__setattr__(data, "rows", rows)
    object.__setattr__(data, "total", total)
    return run


@pytest.mark.parametrize("name", story.NAMES)
@pytest.mark.parametrize("flavour", story.FLAVOURS)
def test_every_page_is_whole_and_loads_nothing(name, flavour):
    run = story.result_of(name, flavour)
    text = page(run, gates=SAID)
    tree = Tree(text)
    assert not tree.open and not tree.faults
    assert renderers.harmless(text, "html") == text, "else its hashes would not fit"
    assert not any(one in text for one in CONTROLS if one != "\n")
    assert {tag for tag, *_ in tree.found} & {"img", "link", "iframe", "object", "base"} == set()
    for _, attributes, _ in tree.found:
        assert not {"src", "style", "srcset", "background"} & attributes.keys()
        assert not any(key.startswith("on") for key in attributes)
        assert (attributes.get("href") or "#").startswith("#")
    assert "url(" not in text and "@import" not in text
    assert embedded.read(text) == [run]
    if flavour == "lossy":
        assert "INCOMPLETE" in text and "lost events 7" in text
    if flavour == "empty":
        assert "none seen" in text.lower() or "No single holds" in text


def code_of(tree):
    return [one[""] for one in tree.of("script") if one.get("type") != "application/json"]


def check_policy(tree):
    """The page's policy forbids every load, and every script and style but its own."""
    (policy,) = (
        one for one in tree.of("meta") if one.get("http-equiv") == "Content-Security-Policy"
    )
    parts = dict(part.strip().split(" ", 1) for part in policy["content"].split(";"))
    assert parts["default-src"] == "'none'" == parts["base-uri"]
    hashes = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()
              for one in code_of(tree)]  # fmt: skip
    assert parts["script-src"] == " ".join(f"'sha256-{one}'" for one in hashes)
    (style,) = tree.of("style")
    digest = base64.b64encode(hashlib.sha256(style[""].encode()).digest()).decode()
    assert parts["style-src"] == f"'sha256-{digest}'"


def test_the_policy_names_the_hashes_of_just_these_scripts():
    tree = Tree(page(story.result_of("blame")))
    assert len(code_of(tree)) == 4
    check_policy(tree)


def test_what_a_selected_range_cannot_count_is_told(monkeypatch):
    run = story.result_of("blame")
    assert "are there for a selected range" not in page(run)
    monkeypatch.setattr(view, "MOST", 5)
    held, waited = len([*stack_weights.single(run)]), len([*blame.rows(run)])
    text = page(run)
    assert f"Of {held} holds and parts of waits with a stack the first 5 are there" in text
    assert f"Of {waited} parts of waits the first 5 are there for a selected range" in text


def test_the_page_is_light():
    """400 kB are the limit; what it weighs without data is what an empty result's page does."""
    assert len(page(story.result_of("blame", "empty")).encode()) < 60_000


@pytest.mark.parametrize("name", ["long-holds", "blame", "overview", "convoys"])
def test_the_flame_graph_weighs_what_the_result_says(name):
    run = story.result_of(name)
    _, held_ns, waited_ns = told(run)
    roots = {one["id"]: int(one["data-root"]) for one in Tree(page(run)).of("figure")}
    assert roots == {"flame-held": held_ns, "flame-waited": waited_ns}
    view = json.loads(Tree(page(run)).of("script", id="view")[0][""])
    assert [sum(one[at] for one in view["weights"]) for at in (1, 2)] == [held_ns, waited_ns]
    assert [sum(one[at] for one in view["weighed"]) for at in (3, 4)] == [held_ns, waited_ns]
    assert sum(one[2] for one in view["charges"]) == waited_ns


def test_frames_stand_below_those_that_called_them():
    tree = Tree(page(story.result_of("long-holds")))
    frames = tree.of("svg", class_="f")
    read = [one for one in frames if one[""].startswith("vfs_read:")]
    inner = [one for one in frames if one[""].startswith("smap_gather_stats:")]
    assert read and inner
    for one in inner:
        x = float(one["x"].rstrip("%"))
        assert any(
            float(above["x"].rstrip("%")) <= x
            and x + float(one["width"].rstrip("%"))
            <= float(above["x"].rstrip("%")) + float(above["width"].rstrip("%")) + 0.001
            and int(above["y"]) < int(one["y"])
            for above in read
        )


@pytest.mark.parametrize("name", ["convoys", "blame"])
def test_a_bracket_holds_whom_the_result_names(name):
    convoys = story.result_of("convoys").events("convoys")
    tree = Tree(page(story.result_of(name)))
    view = json.loads(tree.of("script", id="view")[0][""])

    def thread(number):
        who = view["text"][view["spans"][int(number)][4]]
        return int(re.findall(r"(\d+)\]?$", who)[0])

    brackets = tree.of("svg", class_="bracket")
    found = sorted((thread(one["data-hold"]), sorted(map(thread, one["data-waits"].split())))
                   for one in brackets)  # fmt: skip
    wanted = sorted((row["tid"], sorted(one["tid"] for one in row["queued"])) for row in convoys)
    assert found == wanted and (20, [11, 12, 13, 14]) in found
    said = " ".join(one["aria-label"] for one in brackets)
    for row in convoys:
        assert (
            f"writer {row['writer_comm']}[{row['writer_pid']}] thread {row['writer_tid']}" in said
        )
        assert format_ns(row["writer_wait_ns"]) in said and format_ns(row["hold_ns"]) in said


def test_a_line_leads_from_the_hold_to_the_writer_behind_it():
    run = story.result_of("blame")
    found = spans.of(run)
    links = [one for space in timeline.of(run, found).spaces for one in space.links]
    ends = [(found.of[one.hold].row["tid"], found.of[one.wait].row["tid"]) for one in links]
    assert (20, 11) in ends and (20, 70) in ends
    assert all(found.of[one.wait].row["mode"] == "write" for one in links)
    drawn = Tree(page(run)).of("line", class_="link")
    assert sorted(int(one["data-wait"]) for one in drawn) == sorted(one.wait for one in links)


def cells_of(drawn):
    """How many values all cells of a map have together."""
    return sum(int(re.match(r"([\d,]+) ", one.title)[1].replace(",", "")) for one in drawn.cells)


@pytest.mark.parametrize("steps", [1, 7, 2003])
def test_a_histogram_over_time_has_a_map_of_all_that_was_counted(steps):
    run = story.result_of("hold-times")
    cells = [Cell(step, 1 << n, (2 << n) - 1, 3 + step) for step in range(steps) for n in (9, 13)]
    rows = [{"key": {"mode": mode}, "cells": cells} for mode in ("read", "write")]
    ends_ns = [1 + run.window.duration_ns * (step + 1) // steps for step in range(steps)]
    object.__setattr__(run, "timeline", Timeline(ends_ns, {"hold": rows}))
    (drawn,) = heat.of_timeline(run, spans.of(run).axis)
    assert cells_of(drawn) == 2 * sum(one.n for one in cells)
    assert len(drawn.cells) == 2 * min(steps, -(-steps // -(-steps // heat.STEPS)))
    assert max(one.x + one.width for one in drawn.cells) == 100
    assert len(Tree(page(run)).of("svg", class_="heat")) == 1


@pytest.mark.parametrize("kind", ["hold", "wait"])
def test_the_heat_map_has_every_span_and_the_exact_maximum(kind):
    found = spans.of(story.result_of("blame"))
    drawn = heat.of_spans(found, kind)
    lengths = [found.length_ns(one) for one in found.of if one.kind == kind]
    assert cells_of(drawn) == len(lengths) > 0
    assert f"the longest {format_ns(max(lengths))}" in drawn.said
    assert any(f"{format_ns(max(lengths))}, exact" in one.title for one in drawn.tops)


def test_every_span_is_a_bar():
    run = story.result_of("blame")
    bars = Tree(page(run)).of("rect", class_="bar")
    assert sorted(int(one["data-i"]) for one in bars) == list(range(len(spans.of(run).of)))


def test_names_are_text(tmp_path):
    """Also where they close a script, in the embedded result and in what scripts read."""
    run = story.result_of("blame")
    for row in [*run.events("holds"), *run.events("charges"), *run.events("waits")]:
        row.update(comm=HOSTILE_TAG, owner_comm=HOSTILE_TAG, cause=HOSTILE_TAG)
        if "kernel_stack" in row:
            row["kernel_stack"] = [HOSTILE_TAG, "##vso[x]", "::error::x"]
    text = page(run)
    assert "<img" not in text and "&lt;/script&gt;&lt;img" in text
    assert renderers.harmless(text, "html") != text or "##vso[" not in text
    tree = Tree(text)
    assert not tree.faults and not tree.open
    path = tmp_path / "page.html"
    path.write_text(renderers.harmless(text, "html"), encoding="utf-8")
    assert series.load(str(path)) == [run]


def test_what_is_nasty_stays_text():
    text = page(nasty(), nasty(), gates=SAID)
    tree = Tree(text)
    assert not tree.faults and not tree.open and "<b>&amp;" not in text
    assert NASTY not in text


def test_the_result_is_read_again(tmp_path):
    run, other = story.result_of("blame", "hostile"), story.result_of("blame")
    path = tmp_path / "r.html"
    path.write_text(page(run), encoding="utf-8")
    assert series.load(str(path)) == [run]
    path.write_text(page(run, other), encoding="utf-8")
    assert series.load(str(path)) == [run, other]


def test_a_page_of_somebody_else_is_a_sentence(tmp_path):
    path = tmp_path / "r.html"
    path.write_text("<!doctype html><p>hello", encoding="utf-8")
    with pytest.raises(UsageError, match=r"r\.html: a page without a result in it"):
        series.load(str(path))
    path.write_text(page(story.result_of("blame")).replace('"schema": 2', '"schema": 3'))
    with pytest.raises(UsageError, match="no result file: schema"):
        series.load(str(path))


def test_what_is_too_large_is_not_embedded_and_that_is_said(monkeypatch):
    monkeypatch.setattr(embedded, "MOST_BYTES", 1000)
    text = page(story.result_of("blame"))
    assert "too large to be in this file" in text
    with pytest.raises(UsageError, match="too large"):
        embedded.read(text)


def test_several_runs_have_their_figures_and_the_worst_in_full():
    calm, worst = story.result_of("blame", "empty"), story.result_of("blame")
    text = page(calm, worst, calm)
    assert "3 runs." in text and "of run 2, in which others waited longest" in text
    assert "Medians" in text


def many(count, ns=1000):
    """A run that kept so many holds, each by another thread."""
    run = story.result_of("long-holds")
    first = run.events("long_holds")[0]
    rows = [first | {"tid": n, "time_ns": 1000 * n, "hold_ns": ns + n} for n in range(count)]
    return with_rows(run, "long_holds", rows)


def test_of_many_spans_the_longest_are_drawn(monkeypatch):
    monkeypatch.setattr(spans, "MOST", 97)
    monkeypatch.setattr(sheets, "MOST", 53)
    run = many(211)
    text = page(run)
    assert "Of 211 holds and waits the 97 longest are drawn." in text
    assert "The 53 longest of 97." in text and "The first 53 of 211 rows." in text
    assert min(spans.of(run).of, key=lambda one: one.row["hold_ns"]).row["hold_ns"] == 1114


def test_of_many_at_once_and_of_many_spaces_the_rest_is_told(monkeypatch):
    monkeypatch.setattr(timeline, "LANES", 3)
    monkeypatch.setattr(timeline, "SPACES", 5)
    text = page(many(23, ns=10**9))
    assert re.search(r"20 holds beyond 3 at once: no room", text)
    assert re.search(
        r"\d+ further address spaces with shorter waits", page(story.result_of("blame"))
    )


def test_a_table_tells_what_kept_a_holder_and_folds_its_stacks_into_one_cell():
    run = story.result_of("blame")
    row = run.table("blame")[0]
    row |= {"reason": "page faults under way", "faulting_tid": 812, "faulting_comm": "postgres"}
    row |= {"faulting_stack": ["clear_page+7"], "current_stack": ["__vma_start_write+88"]}
    row["key"]["kernel_stack"] = ["madvise+9"]
    (sheet,) = (one for one in sheets.of(run) if one.name == "blame")
    heads = [head for head, _ in sheet.heads]
    told = dict(zip(heads, sheet.lines[0].cells, strict=True))
    assert told["kept by"].text == "page faults under way (postgres, thread 812)"
    assert told["stack"].text == "__vma_start_write+88"
    assert told["stack"].lines == (
        "__vma_start_write+88", "-- faulting stack", "clear_page+7", "-- kernel stack", "madvise+9"
    )  # fmt: skip
    assert not {"reason", "faulting tid", "kernel stack", "current stack"} & {*heads}


def test_a_stack_of_127_frames_and_a_window_of_a_year():
    run = many(3)
    year_ns = 365 * 86400 * 10**9
    run.events("long_holds")[0]["kernel_stack"] = [f"frame_{n}+1" for n in range(127)]
    run.events("long_holds")[1]["kernel_stack"] = [f"deep_{n}+1" for n in range(1009)]
    object.__setattr__(run.window, "duration_ns", year_ns)
    text = page(run)
    assert "frame_126" in text and "… and 882 frames more" in text
    assert re.search(r"\d+ frames are too deep to be drawn", text)
    assert len(spans.of(run).axis.ticks()) <= 7


def test_one_span_and_an_odd_one():
    run = with_rows(story.result_of("long-holds"), "long_holds", [])
    assert "No single holds and waits to draw" in page(run)
    one = Slice("hold", {"mode": None}, -5, None)
    found = spans.Spans([one], spans.Axis(1), [])
    assert spans.told(one, found.length_ns(one)).startswith("hold, not ended, 6 ns from before")
    assert timeline.of(run, found).spaces[0].bars[0].width == 100


@pytest.mark.parametrize("end_ns", [1, 7, 999, 10**6 + 1, 10**9, 31_536_000 * 10**9])
def test_ticks_are_round_few_and_in_order(end_ns):
    ticks = spans.Axis(end_ns).ticks()
    assert 1 <= len(ticks) <= 7 and ticks[0].text == "0"
    assert [one.x for one in ticks] == sorted({one.x for one in ticks})


def test_losses_that_are_counts_of_several_kinds_are_told():
    run = story.result_of("blame")
    object.__setattr__(run.loss, "lost_lines", {"released": 1009})
    assert "released 1,009" in page(run)


def test_convoys_that_are_not_at_once_share_a_row_and_are_listed():
    def later(kind, actor, mode, since_ms, end_ms):
        ns = (end_ms - since_ms) * story.MS
        return story.span(kind, actor, story.VICTIM, mode, end_ms=end_ms, ns=ns)

    made = story.Told(
        [*story.holds(), later("hold", story.AGENT, "read", 28, 40)],
        [*story.waits(), later("wait", story.WRITER, "write", 30, 40),
         *(later("wait", one, "read", 32, 41) for one in story.READERS)],
    )  # fmt: skip
    run = story.result_of("blame", story=made)
    (space,) = (one for one in timeline.of(run, spans.of(run)).spaces if len(one.brackets) == 2)
    assert space.brackets[0].y == space.brackets[1].y
    ends = sorted((one.began_ns, one.ended_ns) for one in space.brackets)
    assert ends[0][1] <= ends[1][0]
    (listed,) = (one[""] for one in Tree(page(run)).of("details") if "2 convoys:" in one[""])
    assert all(one.said in listed for one in space.brackets)
