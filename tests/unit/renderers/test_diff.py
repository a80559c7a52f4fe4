"""The page of a comparison: its pictures add up, and neither runs nor lengths mislead."""

import json
import re
from dataclasses import replace

import pytest

from mmaplock_bt import renderers
from mmaplock_bt.errors import UsageError
from mmaplock_bt.judging import comparison, series
from mmaplock_bt.judging.comparison import Comparison, Rules
from mmaplock_bt.renderers import changes, diff
from mmaplock_bt.renderers.page import flame, rates
from mmaplock_bt.result.model import Timeline
from mmaplock_bt.result.rows import Cell
from mmaplock_bt.units import format_ns
from tests import story
from tests.builders import CONTROLS, NASTY, nasty, noisy
from tests.unit.renderers.test_exports import told
from tests.unit.renderers.test_page import HOSTILE_TAG, Tree, check_policy, code_of

FACTOR = 3


def slower(run, factor=FACTOR):
    """The run with every hold of the victim's own so many times as long."""
    for row in run.events("holds"):
        if row["comm"] == "victim":
            row["hold_ns"] *= factor
    return run


def blame(count, change=lambda run: run):
    return [change(story.result_of("blame")) for _ in range(count)]


def over(run, duration_ns):
    """The run in a window of some length."""
    window = replace(run.window, ended_by="duration", duration_ns=duration_ns, command=None)
    return replace(run, window=window)


def page(base, new, **more) -> str:
    made = comparison.compare(base, new, Rules(), allow_different=True)
    text = diff.render(made, **more)
    assert renderers.harmless(text, "html") == text, "else its hashes would not fit"
    return text


def held(runs):
    return sum(told(run)[1] for run in runs)


def roots(text):
    return {one["id"]: int(one["data-root"]) for one in Tree(text).of("figure")}


@pytest.mark.parametrize("name", story.NAMES)
@pytest.mark.parametrize("flavour", story.FLAVOURS)
def test_every_page_is_whole_and_loads_nothing(name, flavour):
    text = page([story.result_of(name)], [story.result_of(name, flavour)])
    tree = Tree(text)
    assert not tree.open and not tree.faults
    assert not any(one in text for one in CONTROLS if one != "\n")
    for tag, attributes, _ in tree.found:
        assert tag not in ("img", "link", "iframe", "object", "base")
        assert not {"src", "style", "srcset"} & attributes.keys()
        assert not any(key.startswith("on") for key in attributes)
        assert (attributes.get("href") or "#").startswith("#")
    ids = [attributes["id"] for _, attributes, _ in tree.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {one["href"] for one in tree.of("a")} <= {f"#{one}" for one in ids}


def test_the_policy_names_just_these_scripts():
    tree = Tree(page(blame(1), blame(1)))
    assert len(code_of(tree)) == 3
    check_policy(tree)


def test_a_command_s_runs_are_compared_per_run():
    """Three times as many runs are no change, a slower one is, by the factor."""
    base, new = blame(2), blame(6)
    text = page(base, new)
    assert "Times are per run, as commands ended the windows" in text
    assert "2 runs (base) and 6 runs (new)" in text
    assert roots(text)["flame-held-new"] == roots(text)["flame-held-base"] == held(base) // 2
    assert "+0.0 %" in text and "more1" not in [one.color for one in frames(base, new)]
    victim = next(one for one in frames(base, blame(5, slower)) if one.name == "victim")
    was_ns = sum(row["hold_ns"] for row in base[0].events("holds") if row["comm"] == "victim")
    assert victim.ns == FACTOR * was_ns
    assert victim.title.endswith("per run, +200.0 %") and victim.color == "more3"
    assert f"base {format_ns(was_ns)}, new {format_ns(FACTOR * was_ns)}" in victim.title


def frames(base, new, *columns):
    found = rates.of(base, new)
    return flame.of(found.of.items(), *(columns or (1, 0)), per=found.per).frames


def test_windows_are_compared_per_second():
    """The same holds in a window twice as long are half of them."""
    second = 10**9
    base = [over(run, second) for run in blame(3)]
    new = [over(run, 2 * second) for run in blame(1)]
    text = page(base, new)
    said = "Times are per second of the windows, which are 3.00 s in 3 runs (base) and 2.00 s in 1"
    assert said in text
    assert roots(text)["flame-held-base"] == held(new)
    assert abs(roots(text)["flame-held-new"] - held(new) / 2) < 100, "each stack is rounded"
    assert frames(base, new)[0].title.endswith("per second, -50.0 %")


def test_what_only_one_has_is_in_the_graph_as_wide_as_it():
    def without(run):
        run.events("holds")[:] = [row for row in run.events("holds") if row["comm"] != "victim"]
        return run

    base, new = blame(1), blame(1, without)
    wide_as_new, wide_as_base = frames(base, new), frames(base, new, 0, 1)
    assert not any(one.name == "lock_mm_and_find_vma" for one in wide_as_new)
    gone = next(one for one in wide_as_base if one.name == "lock_mm_and_find_vma")
    assert gone.color == "less3" and "new 0 ns per run, only in base" in gone.title
    assert "lock_mm_and_find_vma: base" in page(base, new)


@pytest.mark.parametrize(("base", "new", "color"), [
    (100, 100, "same"), (100, 109, "same"), (100, 111, "more1"), (100, 151, "more2"),
    (100, 300, "more3"), (0, 1, "more3"), (1, 0, "less3"), (300, 100, "less3"),
    (151, 100, "less2"), (111, 100, "less1"), (0, 0, "same"),
])  # fmt: skip
def test_a_colour_is_by_how_many_times(base, new, color):
    assert flame.level(base, new) == color


def cells_of(text, name):
    """How many values the cells of base's and new's map have together."""
    tree = Tree(text)
    found = {}
    for svg in tree.of("svg", class_=name):
        counts = re.findall(r"([\d,]+) of [\d.]+ [nµm]?s to", svg[""])
        side = re.search(r"(base|new): ", svg["aria-label"])[1]
        found[side] = sum(int(one.replace(",", "")) for one in counts), svg["height"]
    return found


@pytest.mark.parametrize(("kind", "name"), [("hold", "holds"), ("wait", "waits")])
def test_heat_maps_have_every_span_of_every_run_on_one_scale(kind, name):
    base, new = blame(3), blame(2, slower)
    text = page(base, new)
    state = kind if kind == "wait" else "hold"
    one = len(base[0].events(name)) + sum(
        row["state"].startswith(state) and row["ended"] != "yes"
        for row in base[0].events("still_open")
    )
    found = cells_of(text, kind)
    assert (found["base"][0], found["new"][0]) == (3 * one, 2 * one) and one > 0
    assert found["base"][1] == found["new"][1], "as many rows"


def test_histograms_over_time_are_laid_over_each_other():
    def grown(steps, step_ns, count):
        run = story.result_of("hold-times")
        ends_ns = [step_ns * (step + 1) + step % 3 for step in range(steps)]
        cells = [Cell(step, 1 << 9, (2 << 9) - 1, count) for step in range(steps)]
        rows = {"hold": [{"key": {"mode": "read"}, "cells": cells}]}
        return replace(over(run, ends_ns[-1]), timeline=Timeline(ends_ns, rows))

    text = page([grown(7, 10**8, 5), grown(7, 10**8, 5)], [grown(11, 2 * 10**8, 3)])
    found = cells_of(text, "hold")
    assert found["base"][0] == 2 * 7 * 5 and found["new"][0] == 11 * 3
    assert "The windows of base last 700 ms, those of new 2.20 s." in text
    assert "70 in 2 runs" in text and "33, at most" in text
    # Two steps of the base's windows of 0.7 s fall in one of the new's.
    assert "20 of 512 ns to 1.02 µs, 10 a run" in text


def test_changes_are_those_of_the_terminal():
    made = comparison.compare(noisy(1), noisy(2, 1.5), Rules())
    text = diff.render(made)
    tree = Tree(text)
    shown = [one for one in made.changes if one.is_shown]
    assert shown and f"{len(shown)} of {len(made.changes)} measures changed by more than" in text
    cells = [one[""] for one in tree.of("td", class_="bad")]
    assert cells == [changes.cells_of(one)[3] for one in shown]
    for one in made.changes:
        assert changes.cells_of(one)[4] in tree.of("section", id="sheet-changes")[0][""]
    alike = diff.render(comparison.compare(noisy(1), noisy(1), Rules()))
    assert re.search(r"None of \d+ measures changed", alike) and 'class="n bad"' not in alike


def test_of_too_few_runs_nothing_is_said():
    assert "No change can be told from chance: 1 run, fewer than 6." in page(
        noisy(1, runs=1), noisy(2)
    )


def test_incomplete_runs_are_left_out_and_told():
    lossy = [story.result_of("blame", "lossy")]
    text = page([*blame(2), *lossy], blame(2))
    assert "1 of 3 base runs left out" in text
    assert roots(text)["flame-held-base"] == held(blame(1))
    assert "lost events 7" in Tree(text).of("section", id="runs")[0][""]


def test_a_profile_without_stacks_says_so():
    run = story.result_of("hold-times")
    assert "keeps no stacks of single holds" in page([run], [run])


def test_names_are_text():
    def hostile(run):
        for row in [*run.events("holds"), *run.events("charges"), *run.events("waits")]:
            row.update(comm=HOSTILE_TAG, owner_comm=HOSTILE_TAG, cause=HOSTILE_TAG)
            if "kernel_stack" in row:
                row["kernel_stack"] = [HOSTILE_TAG]
        target = replace(run.target, kernel=HOSTILE_TAG)
        return replace(run, target=target, profile=replace(run.profile, name=HOSTILE_TAG))

    text = page(blame(1), blame(1, hostile))
    tree = Tree(text)
    assert "<img" not in text and not tree.faults and not tree.open
    assert HOSTILE_TAG in tree.of("section", id="flames")[0][""]
    assert NASTY not in page([nasty()], [nasty()])


def test_the_data_of_the_scripts_are_the_graphs():
    base, new = blame(2), blame(3, slower)
    text = page(base, new)
    view = json.loads(Tree(text).of("script", id="view")[0][""])
    sums = [sum(row[1 + turn] for row in view["weights"]) for turn in range(4)]
    told_roots = roots(text)
    assert sums == [told_roots[f"flame-{name}"] for name in
                    ("held-base", "held-new", "waited-base", "waited-new")]  # fmt: skip


def test_the_command(cli, tmp_path):
    for name, runs in (("a", blame(6)), ("b", blame(6, slower))):
        (tmp_path / name).mkdir()
        for one in runs:
            series.save(one, tmp_path / name)
    both, file = (str(tmp_path / "a"), str(tmp_path / "b")), tmp_path / "diff.html"
    done = cli("compare", *both, "-o", str(file), "-o", f"{tmp_path}/page/", "--format", "none")
    assert done.returncode == 0, done.stderr
    assert "new against base" in file.read_text()
    index = (tmp_path / "page/index.html").read_text()
    assert "new against base" in index and 'href="page.css"' in index
    with pytest.raises(UsageError, match="a page without a result in it: one of a comparison"):
        series.load(str(file))


def test_a_comparison_of_nothing():
    empty = story.result_of("blame", "empty")
    made = Comparison((empty,), (empty,), (), ())
    assert "No measure was seen in these runs." in diff.render(made)


def test_of_many_stacks_the_heaviest_are_drawn_and_that_is_told(monkeypatch):
    monkeypatch.setattr(rates, "STACKS", 7)
    found = rates.of(blame(1), blame(1))
    assert len(found.of) == 7
    assert re.search(r"Of \d+ stacks the 7 heaviest are in graphs", page(blame(1), blame(1)))
    assert ("agent", "actor") in {path[0] for path in found.of}


def test_what_was_not_followed_is_told():
    def sampled(run):
        return replace(run, profile=replace(run.profile, sample=4, locks="contended"))

    text = page(blame(1), blame(1, sampled))
    assert "One lock in 4 was followed: counts and sums are estimates" in text
    assert "Only locks that somebody waited for were followed" in text
    assert "<b>Note:</b> sample: 1/1 and 1/4" in text


def test_what_a_kernels_locks_do_not_show_is_told():
    def on(**facts):
        return lambda run: replace(run, target=replace(run.target, facts=facts))

    for shown, why in ((True, "PREEMPT_RT"), (False, "cannot be read")):
        text = page(blame(1), blame(1, on(rwsem_owner=False, rwbase=shown)))
        assert f"{why}: every lock was followed" in text
    assert "every lock was followed" not in page(blame(1), blame(1))


def test_what_was_missed_while_bpftrace_was_preempted_is_told():
    def lacking(run):
        facts = {"rwsem_owner": False, "rwbase": True}
        lost = replace(run.loss, missed_events=107, complete=False)
        return replace(run, target=replace(run.target, facts=facts), loss=lost)

    assert "PREEMPT_RT preempts bpftrace" in page(blame(1), blame(1, lacking))
