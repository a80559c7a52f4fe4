"""speedscope's own app opens what we export for it, and shows the sums of the result."""

import shutil
from collections import Counter

import pytest

from mmaplock_bt import renderers
from mmaplock_bt.judging.series import Series
from mmaplock_bt.renderers import stack_weights
from tests import story
from tools import readers

UNITS = {"ns": 1, "µs": 10**3, "ms": 10**6, "s": 10**9}
FILE = "r.speedscope.json"


@pytest.fixture
def app(serve, tmp_path):
    """The app's folder, and the address that opens FILE of it."""
    release = readers.speedscope()
    if release is None:
        pytest.skip("speedscope is not installed: make readers-tools")
    shutil.copytree(release, tmp_path, dirs_exist_ok=True)
    place = serve(tmp_path)
    return tmp_path, f"{place}/index.html#profileURL={place}/{FILE}"


@pytest.fixture
def shown(app, browse):
    """Returns a function that opens a run's export."""
    folder, address = app

    def show(run):
        export = renderers.rendered(Series((run,)), "speedscope")
        (folder / FILE).write_text(export, encoding="utf-8")
        page = browse(address, expects_faults=True)  # it writes what it does to the console
        page.tab.wait_for_function("document.title.startsWith('mmap_lock: blame.')")
        assert not [one for one in page.faults if "rror" in one]
        return page

    return show


ROWS = """[...document.querySelectorAll("tr")].filter(row => row.offsetParent !== null)
  .map(row => [...row.querySelectorAll("td")].map(cell => cell.innerText.trim()))
  .filter(cells => cells.length === 3)"""


def selves(page):
    """What the app's table, the 'sandwich', tells of each frame by itself: (ns, how finely)."""
    page.tab.wait_for_selector("text=Symbol Name")
    return {name: ns(own) for _, own, name in page.ask(ROWS)}


def ns(text):
    """'187.30ms (15%)' as (ns, how finely it is written)."""
    figure = text.split(" ")[0]
    number = figure.rstrip("nµms")
    unit = UNITS[figure[len(number) :]]
    return float(number) * unit, unit / 100


def check(page, wanted):
    found = selves(page)
    assert {name for name, (own, _) in found.items() if own} == set(wanted)
    for name, (own, fine) in found.items():
        assert abs(own - wanted.get(name, 0)) <= fine, name
    assert sum(own for own, _ in found.values()) == pytest.approx(sum(wanted.values()), rel=1e-4)


def test_the_app_shows_the_sums_of_both_profiles(shown):
    run = story.result_of("blame")
    held, waited = Counter(), Counter()
    for stack, weight in stack_weights.weighed(Series((run,))).of.items():
        held[stack.frames[-1]] += weight.hold_ns
        waited[stack.frames[-1]] += weight.victim_ns
    page = shown(run)
    page.tab.keyboard.press("3")
    check(page, +held)
    page.tab.keyboard.press("n")
    page.tab.wait_for_selector("text=time that others waited for it (2/2)")
    check(page, +waited)


@pytest.mark.parametrize("flavour", story.FLAVOURS)
def test_the_app_opens_any(shown, flavour):
    page = shown(story.result_of("blame", flavour))
    # The first of the two that has anything in it.
    page.tab.wait_for_selector(f"text=({2 if flavour == 'empty' else 1}/2)")
