"""The README's pictures, of a run of the known workload now: docs/pictures (as root).

python tools/pictures.py

The page as Chromium shows it, light; `make browser-tools` brings that.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import FloatRect, Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs/pictures"
# Both by their names: a picture shows no path of the machine where it was made.
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
WORKLOAD = ["python", "-m", "mmaplock_bt.workload", "smaps", "7", "1024"]
BROWSERS = ("chromium-headless-shell", "chromium")
WIDTH, HEIGHT = 1000, 6000  # all of it is on the screen: what is not is not drawn


def main() -> None:
    """Takes every picture. Raises CalledProcessError where the run fails."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        _run("-o", str(page))
        _photograph(page, FOLDER / "page.png")


def _run(*options: str) -> None:
    argv = ["mmaplock-bt", "run", "--locks", "all", *options, "--", *WORKLOAD]
    subprocess.run(argv, check=True, env={**os.environ, "PATH": PATH})


def _photograph(page: Path, target: Path) -> None:
    path = next(found for name in BROWSERS if (found := shutil.which(name)))
    words = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's refuses to be root's
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=words)
        tab = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        tab.goto(page.as_uri())
        tab.screenshot(path=target, clip=_between(tab, "#timeline", "#flames"))
        browser.close()


def _between(tab: Page, first: str, last: str) -> FloatRect:
    """The page's part from the top of one element to the end of another."""
    above, below = (tab.locator(one).bounding_box() for one in (first, last))
    assert above and below
    height = below["y"] + below["height"] - above["y"]
    return {"x": 0, "y": above["y"], "width": WIDTH, "height": height}


if __name__ == "__main__":
    main()
