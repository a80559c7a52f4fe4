"""The page in a folder, for servers that allow no style or script within a page."""

import pytest

from mmaplock_bt import renderers
from mmaplock_bt.judging.series import Series
from mmaplock_bt.renderers.page import parts
from tests import story

# As Jenkins serves what a job has kept.
JENKINS = "sandbox; default-src 'none'; img-src 'self'; style-src 'self';"
INK = "getComputedStyle(document.querySelector('.bar.write')).fill"


@pytest.fixture
def folder(tmp_path):
    page = renderers.rendered(Series((story.result_of("blame"),)), renderers.FOLDER)
    for name, text in parts.folder(renderers.harmless(page, renderers.FOLDER)).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_it_opens_from_disk_with_style_and_scripts(browse, folder):
    page = browse((folder / "index.html").as_uri(), requests=len(parts.NAMES))
    assert page.ask("document.getElementById('said').textContent") == "The whole window."
    assert page.ask(INK) == "rgb(184, 82, 26)"


def test_a_server_that_allows_only_styles_of_its_own_shows_all_of_it(browse, serve, folder):
    page = browse(f"{serve(folder, JENKINS)}/index.html", expects_faults=True)
    assert any("sandbox" in fault for fault in page.faults), "it allows no scripts"
    assert page.ask(INK) == "rgb(184, 82, 26)" and page.ask("typeof page") == "undefined"
    assert page.tab.locator("#flame-held").is_visible()
    assert page.tab.locator("#flame-waited").is_visible()
    assert not page.tab.locator(".controls:visible").count()
