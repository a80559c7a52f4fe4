"""What the page does in a browser. Every test also fails on a console message or a request."""

import pytest

from mmaplock_bt.renderers.page import blame, spans
from tests import story
from tests.unit.renderers.test_exports import told
from tests.unit.renderers.test_page import HOSTILE_TAG, many

MS = story.MS
RANGE = (2 * MS, 12 * MS)
ROWS = """[...document.querySelectorAll("#sheet-%s tbody tr")].filter(row => !row.hidden)
  .map(row => [...row.cells].map(cell => cell.dataset.v ?? cell.textContent))"""


def rows(page, name):
    return page.ask(ROWS % name)


def root(page, name):
    return int(page.ask(f"document.getElementById('flame-{name}').dataset.root"))


def select(page, begin_ms, end_ms):
    page.tab.fill("#from", str(begin_ms))
    page.tab.fill("#to", str(end_ms))
    page.tab.press("#to", "Enter")


def is_in(begin, end):
    return begin <= RANGE[1] and (end is None or end >= RANGE[0])


def lengths(run):
    found = spans.of(run)
    return sorted(str(found.length_ns(one)) for one in found.of
                  if is_in(one.began_ns, one.ended_ns))  # fmt: skip


def sums(run):
    """What is charged of waits that were on in the range, by who waited, for whom, doing what."""
    waits = {(row["tid"], row["mm"], row["time_ns"]): row["wait_ns"] for row in run.events("waits")}
    for row in run.events("still_open"):
        waits[row["tid"], row["mm"], None] = row["age_ns"]
    found = {}
    for row in blame.rows(run):
        wait_ns = waits.get((row["victim_tid"], row["mm"], row["time_ns"]), row["charged_ns"])
        if is_in(row["time_ns"] - wait_ns, row["time_ns"]):
            side = blame.side(row)
            found[side] = found.get(side, 0) + row["charged_ns"]
    return found


@pytest.mark.parametrize("name", story.NAMES)
def test_every_profile_opens(opened, name):
    page = opened(story.result_of(name))
    assert page.ask("document.getElementById('said').textContent") == "The whole window."


@pytest.mark.parametrize("flavour", story.FLAVOURS)
@pytest.mark.parametrize("width", [360, 1200])
def test_nothing_is_wider_than_the_screen(opened, flavour, width):
    page = opened(story.result_of("blame", flavour), width=width)
    assert page.ask("document.documentElement.scrollWidth") <= width


def test_a_range_filters_what_is_below(opened):
    run = story.result_of("blame")
    page = opened(run)
    before = {name: rows(page, name) for name in ("spans", "sums", "still_open", "blame")}
    select(page, RANGE[0] / MS, RANGE[1] / MS)
    wanted = lengths(run)
    assert sorted(row[1] for row in rows(page, "spans")) == wanted
    assert 0 < len(wanted) < len(before["spans"])
    assert {tuple(row[:3]): int(row[3]) for row in rows(page, "sums")} == sums(run)
    held = [row["hold_ns"] for row in run.events("holds")
            if is_in(row["time_ns"] - row["hold_ns"], row["time_ns"])]  # fmt: skip
    opened_ns = [(row["time_ns"] - row["age_ns"], row["age_ns"]) for row in run.events("still_open")
                 if row["ended"] != "yes" and row["state"] != "wait"]  # fmt: skip
    held += [ns for since_ns, ns in opened_ns if is_in(since_ns, None)]
    assert root(page, "held") == sum(held)
    assert root(page, "waited") == sum(sums(run).values())
    assert len(rows(page, "still_open")) < len(before["still_open"])
    assert rows(page, "blame") == before["blame"], "sums of the whole window stay"
    page.tab.click("#whole")
    assert {name: rows(page, name) for name in before} == before
    assert (root(page, "held"), root(page, "waited")) == told(run)[1:]


def test_a_range_is_dragged_over_a_picture(opened):
    page = opened(story.result_of("blame"))
    all_rows = rows(page, "spans")
    picture = page.tab.locator("svg.heat.hold")
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    y = box["y"] + 20
    page.tab.mouse.move(box["x"] + box["width"] * 0.30, y)
    page.tab.mouse.down()
    page.tab.mouse.move(box["x"] + box["width"] * 0.40, y, steps=3)
    page.tab.mouse.up()
    begin, end = page.ask("page.range")
    assert abs(begin - 60 * MS) < MS and abs(end - 80 * MS) < MS
    assert 0 < len(rows(page, "spans")) < len(all_rows)
    assert "From +" in page.ask("document.getElementById('said').textContent")
    chosen = page.ask("document.querySelector('svg.heat.wait .chosen').getAttribute('x')")
    assert abs(float(chosen.rstrip("%")) - 30) < 0.5


def test_the_timeline_zooms_with_the_range(opened):
    page = opened(story.result_of("blame"))
    select(page, 0, 50)
    bracket = page.ask("""(() => { const one = document.querySelectorAll(".bracket")[1];
      return [one.getAttribute("x"), one.getAttribute("width")]; })()""")
    assert bracket == ["2%", "42%"]


def test_heads_sort_and_a_word_filters(opened):
    page = opened(story.result_of("blame"))
    page.tab.click("#sheet-spans th:nth-child(2) button")
    down = [int(row[1]) for row in rows(page, "spans")]
    page.tab.click("#sheet-spans th:nth-child(2) button")
    up = [int(row[1]) for row in rows(page, "spans")]
    assert down == sorted(down, reverse=True) and up == sorted(up) and up != down
    assert (
        page.ask("document.querySelector('#sheet-spans th:nth-child(2)').ariaSort") == "ascending"
    )
    page.tab.fill("#row-search", "AGENT")
    found = rows(page, "spans")
    assert found and all("agent" in " ".join(row) for row in found)


def test_the_flame_graph_by_keyboard_and_switch(opened):
    page = opened(story.result_of("blame"))
    assert page.tab.is_visible("#flame-held") and not page.tab.is_visible("#flame-waited")
    page.tab.check("input[value=waited]")
    assert page.tab.is_visible("#flame-waited") and not page.tab.is_visible("#flame-held")
    page.tab.focus("#flame-waited > svg")
    page.tab.keyboard.press("ArrowDown")
    assert page.tab.text_content("#frame").startswith("agent: 140 ms")
    page.tab.keyboard.press("Enter")
    agent = page.tab.locator("#flame-waited .f").nth(1)
    assert agent.get_attribute("width") == "100%"
    page.tab.keyboard.press("Escape")
    assert page.tab.locator("#flame-waited .f").nth(1).get_attribute("width") != "100%"
    page.tab.fill("#frame-search", "smap_gather")
    assert page.tab.locator("#flame-waited .f.found").count() > 0
    assert page.tab.text_content("#frame").startswith("Frames with this word: 140 ms")


def test_a_click_tells_what_a_bar_is(opened):
    page = opened(story.result_of("blame"))
    page.tab.locator("rect.bar").first.click()
    assert "hold" in page.tab.text_content("#detail")


def test_hostile_names_are_shown_and_do_nothing(opened):
    run = story.result_of("blame")
    for name in ("holds", "charges", "waits", "still_open"):
        for row in run.events(name):
            row.update(comm=HOSTILE_TAG, owner_comm=HOSTILE_TAG, cause=HOSTILE_TAG,
                       victim=HOSTILE_TAG, culprit=HOSTILE_TAG)  # fmt: skip
            if row.get("kernel_stack"):
                row["kernel_stack"] = [HOSTILE_TAG]
    page = opened(run)
    select(page, 0, 100)
    page.tab.fill("#frame-search", "onerror")
    assert page.ask("document.querySelectorAll('img').length") == 0
    assert HOSTILE_TAG in page.tab.text_content("#sheet-spans tbody")
    assert HOSTILE_TAG in page.tab.text_content("#flame-held")


def test_the_policy_stops_what_got_in_all_the_same(opened):
    page = opened(story.result_of("blame"), expects_faults=True)
    page.ask("""new Promise(done => {
      let left = 2;
      document.addEventListener("securitypolicyviolation", () => --left || done());
      document.body.insertAdjacentHTML("beforeend",
        "<img src='https://example.org/x.png' onerror='window.pwned = 1'>");
      const script = document.createElement("script");
      script.textContent = "window.pwned = 2";
      document.body.append(script);
    })""")
    assert page.ask("window.pwned") is None


def test_all_of_it_is_there_without_scripts(opened):
    run = story.result_of("blame")
    page = opened(run, scripts=False)
    shown = page.tab.locator
    assert shown("rect.bar").count() == len(spans.of(run).of)
    assert shown("#flame-held").is_visible() and shown("#flame-waited").is_visible()
    assert shown("svg.bracket").count() == 2
    assert not shown(".controls:visible").count()
    assert shown("#sheet-spans tbody tr").count() == len(spans.of(run).of)
    assert shown("ol.findings li").first.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_letters_can_be_read(opened, scheme):
    """Text against its ground by WCAG 2: 4.5 and more."""
    page = opened(story.result_of("blame", "lossy"), scheme=scheme)
    worst = page.ask("""(() => {
      const light = color => { const parts = color.match(/[\\d.]+/g).slice(0, 3)
        .map(one => one / 255)
        .map(one => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]; };
      const ground = light(getComputedStyle(document.body).backgroundColor);
      return Math.min(...[...document.querySelectorAll("p, h1, h2, h3, td, dt, dd, a, small")]
        .map(one => light(getComputedStyle(one).color))
        .map(one => (Math.max(one, ground) + 0.05) / (Math.min(one, ground) + 0.05)));
    })()""")
    assert worst >= 4.5


def test_of_many_spans_those_in_no_table_are_found_by_their_time(opened):
    """The table begins with the longest; a range shows the short ones, too."""
    page = opened(many(2003))
    assert len(rows(page, "spans")) == 500
    select(page, 0, 0.004)
    assert sorted(int(row[1]) for row in rows(page, "spans")) == [
        1000,
        1001,
        1002,
        1003,
        1004,
        1005,
    ]


@pytest.mark.parametrize("name", story.NAMES)
def test_nothing_is_wider_than_paper(opened, name):
    """A4 without its margins is 718 px."""
    page = opened(story.result_of(name), width=718)
    page.tab.emulate_media(media="print")
    assert page.ask("document.documentElement.scrollWidth") <= 718
