"""Debian's Chromium by way of playwright, or tests that are skipped and say what is missing."""

import os
import shutil
import threading
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mmaplock_bt import renderers
from mmaplock_bt.judging.series import Series

BROWSERS = ("chromium-headless-shell", "chromium", "google-chrome")
MISSING = "is not installed: make browser-tools"


@dataclass
class Opened:
    """A page in a tab, and what went wrong or was asked of a network."""

    tab: object
    faults: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def ask(self, code: str):
        """Returns the value of a JavaScript expression."""
        return self.tab.evaluate(code)


@pytest.fixture(scope="session")
def chromium():
    api = pytest.importorskip("playwright.sync_api", reason=f"playwright {MISSING}")
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"chromium-headless-shell {MISSING}")
    # Chromium's sandbox refuses to be root's.
    words = ["--no-sandbox"] if os.geteuid() == 0 else []
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=words)
        yield browser
        browser.close()


class _Handler(SimpleHTTPRequestHandler):
    """Serves without a word, with a policy where one is given."""

    policy = ""

    def end_headers(self):
        if self.policy:
            self.send_header("Content-Security-Policy", self.policy)
        super().end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def serve():
    """Returns a function that serves a folder and returns its address."""
    servers = []

    def start(folder: Path, policy: str = "") -> str:
        handler = type("Handler", (_Handler,), {"policy": policy})
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def browse(chromium):
    """Returns a function that opens an address in a tab of its own.

    Every tab fails the test that opened it by a message or by a request too many.
    """
    contexts = []

    def open_tab(address, *, scripts=True, width=1200, scheme="light", requests=1,
                 expects_faults=False) -> Opened:  # fmt: skip
        context = chromium.new_context(java_script_enabled=scripts, color_scheme=scheme,
                                       viewport={"width": width, "height": 900})  # fmt: skip
        contexts.append((context, requests, expects_faults))
        found = Opened(context.new_page())
        context.opened = found
        found.tab.on("console", lambda said: found.faults.append(said.text))
        found.tab.on("pageerror", lambda error: found.faults.append(str(error)))
        found.tab.on("dialog", lambda dialog: (found.faults.append("dialog"), dialog.dismiss()))
        found.tab.on("request", lambda asked: found.requests.append(asked.url))
        found.tab.goto(address)
        return found

    yield open_tab
    for context, requests, expects_faults in contexts:
        if not expects_faults:
            assert context.opened.faults == []
            assert len(context.opened.requests) == requests, "only the page itself"
        context.close()


@pytest.fixture
def opened(browse, tmp_path):
    """Returns a function that opens the page of a run, or one that is written, in a tab."""

    def open_page(run, **options) -> Opened:
        text = run if isinstance(run, str) else renderers.rendered(Series((run,)), "html")
        file: Path = tmp_path / f"{len(list(tmp_path.iterdir()))}.html"
        file.write_text(renderers.harmless(text, "html"), encoding="utf-8")
        return browse(file.as_uri(), **options)

    return open_page
