"""An agent as a process of its own, and what it answers."""

import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]
Samples = dict[tuple[str, Labels], float]


@dataclass
class Agent:
    """A running one; `said` are the lines of its log so far."""

    process: subprocess.Popen[str]
    url: str
    said: list[str] = field(default_factory=list)
    first: list[str] = field(default_factory=list)  # until it traced

    def get(self, path: str, accept: str = "") -> str:
        """Returns a page's text. Raises HTTPError for another status than 200."""
        asked = urllib.request.Request(self.url + path, headers={"Accept": accept})
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return str(answer.read().decode())

    def samples(self) -> Samples:
        """Returns what a scrape tells."""
        families = text_string_to_metric_families(self.get("/metrics"))
        return {(s.name, frozenset(s.labels.items())): s.value for f in families for s in f.samples}

    def value(self, name: str, **labels: str) -> float:
        """Returns the sum of a metric's samples with these labels among theirs."""
        wanted = set(labels.items())
        return sum(v for (n, has), v in self.samples().items() if n == name and wanted <= has)

    def settled(self, name: str, **labels: str) -> float:
        """Returns the sum once it has stayed the same for longer than charging takes."""
        since, before = time.monotonic(), -1.0
        while time.monotonic() - since < 3:
            if (found := self.value(name, **labels)) != before:
                since, before = time.monotonic(), found
            threading.Event().wait(0.1)
        return before

    def await_value(self, name: str, least: float, turns: int = 600, **labels: str) -> float:
        """Returns the sum once it is as large as that: each scrape is a step, within a minute."""
        for _ in range(turns):
            if (found := self.value(name, **labels)) >= least:
                return found
            threading.Event().wait(0.1)
        raise AssertionError(f"{name} {labels} stays below {least}: {self.said}")


# Whatever else this machine does.
NAMED = "culprits: {names: [smaps-reader]}"
ROOMY = f"{NAMED}\nlimits: {{memory: 1GiB, cpu: 100%, events: 1000000}}"


@contextmanager
def running(config: str = "") -> Iterator[Agent]:
    """An agent that traces, on a port of its own; without a file it may take what it likes."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as roomy:
        roomy.write(ROOMY)
        roomy.flush()
        words = [sys.executable, "-m", "mmaplock_bt", "agent", config or roomy.name]
        with begun(words) as agent:
            yield agent


@contextmanager
def begun(words: list[str], variables: Mapping[str, str] | None = None) -> Iterator[Agent]:
    """The same by a command line of its own."""
    listen = ["--listen", "127.0.0.1:0"]
    process = subprocess.Popen([*words, *listen], stderr=subprocess.PIPE, text=True, env=variables)
    assert process.stderr is not None
    try:
        first = [process.stderr.readline()]
        while first[-1] and not first[-1].startswith("tracing; "):
            first.append(process.stderr.readline())
        found = re.fullmatch(r"tracing; (http://127\.0\.0\.1:\d+)/metrics\n", first[-1])
        assert found, first
        one = Agent(process, found[1], first=first)
        threading.Thread(target=lambda: one.said.extend(process.stderr), daemon=True).start()
        yield one
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
