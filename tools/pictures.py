"""The README's pictures, of a run of the known workload now: docs/pictures (as root).

python tools/pictures.py

The page as Chromium shows it, light, and the screen of `top`; `make browser-tools` brings that.
"""

import asyncio
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from playwright.sync_api import FloatRect, Page, sync_playwright

from mmaplock_bt.commands import top
from mmaplock_bt.commands.tracing import trace
from mmaplock_bt.machine import inventory
from mmaplock_bt.renderers.top.app import Top
from mmaplock_bt.spec import profile
from mmaplock_bt.tracing import ending
from mmaplock_bt.tracing.ending import Options

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs/pictures"
# Both by their names: a picture shows no path of the machine where it was made.
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
WORKLOAD = ["python", "-m", "mmaplock_bt.workload", "smaps", "7", "1024"]
BROWSERS = ("chromium-headless-shell", "chromium")
SCREEN, EVERY_NS = (110, 32), 300_000_000
WIDTH, HEIGHT = 1000, 6000  # all of it is on the screen: what is not is not drawn


def main() -> None:
    """Takes every picture. Raises CalledProcessError where the run fails."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        _run("-o", str(page))
        _photograph(page, FOLDER / "page.png", "#timeline", "#flames")
        drawn = Path(folder) / "top.html"
        drawn.write_text(asyncio.run(_top()))
        _photograph(drawn, FOLDER / "top.png", "svg", "svg")


def _run(*options: str) -> None:
    argv = ["mmaplock-bt", "run", "--locks", "all", *options, "--", *WORKLOAD]
    subprocess.run(argv, check=True, env={**os.environ, "PATH": PATH})


async def _top() -> str:
    """The screen of `top` once the workload has run, as an SVG that loads no font."""
    work = subprocess.Popen([*WORKLOAD[:-2], "60", "1024"], env={**os.environ, "PATH": PATH})
    chosen = profile.load("overview")
    only = profile.merge(chosen.filter, {"owner": {"pid": [work.pid]}})
    traces = functools.partial(
        trace, replace(chosen, filter=only), inventory.probe("bpftrace"), Options()
    )
    with ending.on_signals(), top.beside(traces, EVERY_NS) as tracing:
        app = Top(tracing.feed)
        async with app.run_test(size=SCREEN) as pilot:
            while not (tracing.feed.latest and tracing.feed.latest.found):
                await pilot.pause(EVERY_NS / 1e9)
            await pilot.pause(5 * EVERY_NS / 1e9)
            svg = app.export_screenshot(title="mmaplock-bt top")
    work.wait()
    return re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)


def _photograph(page: Path, target: Path, first: str, last: str) -> None:
    path = next(found for name in BROWSERS if (found := shutil.which(name)))
    words = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's refuses to be root's
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=words)
        tab = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        tab.goto(page.as_uri())
        tab.screenshot(path=target, clip=_between(tab, first, last))
        browser.close()


def _between(tab: Page, first: str, last: str) -> FloatRect:
    """The page's part from the top of one element to the end of another."""
    above, below = (tab.locator(one).bounding_box() for one in (first, last))
    assert above and below
    height = below["y"] + below["height"] - above["y"]
    return {"x": 0, "y": above["y"], "width": WIDTH, "height": height}


if __name__ == "__main__":
    main()
