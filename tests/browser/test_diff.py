"""The page of a comparison in a browser. Every test also fails on a message or a request."""

import pytest

from mmaplock_bt.judging import comparison
from mmaplock_bt.judging.comparison import Rules
from mmaplock_bt.renderers import diff
from tests import story
from tests.unit.renderers.test_diff import blame, slower
from tests.unit.renderers.test_page import HOSTILE_TAG

# What is drawn: name, title, colour, row; then x and width.
FRAMES = """[...document.querySelectorAll("#flame-%s .f")].map(one => [
  [one.querySelector("text")?.textContent ?? "", one.querySelector("title").textContent,
   one.querySelector("rect").getAttribute("fill"), one.getAttribute("y")],
  ["x", "width"].map(side => parseFloat(one.getAttribute(side)))])"""


def frames(page, name):
    return sorted(page.ask(FRAMES % name))


def check_alike(drawn, there):
    assert drawn and [one for one, _ in drawn] == [one for one, _ in there]
    for (_, place), (_, wanted) in zip(drawn, there, strict=True):
        assert place == pytest.approx(wanted, abs=0.01)


def compared(base, new):
    return diff.render(comparison.compare(base, new, Rules(), allow_different=True))


@pytest.fixture(scope="module")
def text():
    return compared(blame(6), blame(6, slower))


@pytest.mark.parametrize("name", [one[0] for one in diff.FLAMES])
def test_scripts_draw_what_is_there_without_them(opened, text, name):
    without, with_scripts = opened(text, scripts=False), opened(text)
    assert without.tab.locator(f"#flame-{name}").is_visible()
    check_alike(frames(with_scripts, name), frames(without, name))
    said = f"document.querySelector('#flame-{name} .root').textContent"
    assert without.ask(said) == with_scripts.ask(said) != ""


def test_the_report_s_too(opened):
    run = story.result_of("blame")
    without, with_scripts = opened(run, scripts=False), opened(run)
    for name in ("held", "waited"):
        check_alike(frames(with_scripts, name), frames(without, name))


def test_the_widths_are_switched_and_frames_walked_by_keyboard(opened, text):
    page = opened(text)
    assert page.tab.is_visible("#flame-held-new") and not page.tab.is_visible("#flame-held-base")
    page.tab.check("input[value=held-base]")
    page.tab.focus("#flame-held-base > svg")
    page.tab.keyboard.press("ArrowDown")
    page.tab.keyboard.press("Enter")
    assert page.tab.locator("#flame-held-base .f").nth(1).get_attribute("width") == "100%"
    page.tab.keyboard.press("Escape")
    page.tab.fill("#frame-search", "lock_mm")
    found = page.tab.text_content("#frame")
    assert found.startswith("Frames with this word: ") and " per run, " in found


def test_changes_are_sorted_and_searched(opened, text):
    page = opened(text)
    page.tab.fill("#row-search", "WAITED")
    shown = page.ask("""[...document.querySelectorAll("#sheet-changes tbody tr")]
      .filter(row => !row.hidden).map(row => row.cells[0].textContent)""")
    assert shown and all("waited" in one for one in shown)
    page.tab.click("#sheet-stacks th:nth-child(5) button")
    values = page.ask("""[...document.querySelectorAll("#sheet-stacks tbody tr")]
      .map(row => Number(row.cells[4].dataset.v))""")
    assert values == sorted(values, reverse=True) and values[0] > 0


@pytest.mark.parametrize("width", [360, 1200])
@pytest.mark.parametrize("flavour", ["full", "hostile", "lossy"])
def test_nothing_is_wider_than_the_screen(opened, width, flavour):
    page = opened(compared(blame(1), [story.result_of("blame", flavour)]), width=width)
    assert page.ask("document.documentElement.scrollWidth") <= width


def test_hostile_names_are_shown_and_do_nothing(opened):
    def hostile(run):
        for row in run.events("holds"):
            row.update(comm=HOSTILE_TAG, kernel_stack=[HOSTILE_TAG], hold_ns=row["hold_ns"] * 99)
        return run

    page = opened(compared(blame(1), blame(1, hostile)))
    page.tab.fill("#frame-search", "onerror")
    assert page.ask("document.querySelectorAll('img').length") == 0
    assert HOSTILE_TAG in page.tab.text_content("#flame-held-new")
    assert HOSTILE_TAG in page.tab.text_content("#sheet-stacks")
