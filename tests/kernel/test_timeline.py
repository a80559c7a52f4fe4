"""The timeline knows what came before a tick and what after it."""

import json
import signal
import time

import pytest

from tests.kernel.processes import begun
from tests.kernel.results import loaded
from tests.kernel.test_filters import takers

pytestmark = [pytest.mark.kernel, pytest.mark.daily]
SLACK = 60  # locks that an interpreter takes beside what it is told to take
LIMIT_S = 60


def test_each_lock_is_in_its_step(kernel, tmp_path):
    """1,009 reads, a tick that has seen them, then 2,003: all others come later than that tick."""
    raw = tmp_path / "raw.ndjson"
    with takers("taker") as (taker,):
        run = begun("hold-times", "--format", "json", "-p", str(taker.pid), "--save-raw", str(raw))
        taker.does("lock", 1009)
        at_ns, seen = _tick_with(raw, 1009)
        taker.does("lock", 2003)
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=120)
    assert run.returncode == 0, err
    result = loaded(out)
    timeline, opened_ns = result.timeline, _opened_ns(raw)
    (reads,) = [row for row in timeline.outputs["hold"] if row["key"]["mode"] == "read"]
    assert 0 <= seen - 1009 < SLACK
    # Ticks may lie inside of a step: what had ended when it was seen, and what had begun.
    at = next(n for n, end in enumerate(timeline.ends_ns) if end >= at_ns - opened_ns)
    ended, begun_too = (
        sum(one.n for one in reads["cells"] if one.step < limit) for limit in (at, at + 1)
    )
    assert ended <= seen <= begun_too
    counts = {row["key"]["mode"]: row["count"] for row in result.histogram("hold")}
    assert counts["read"] == sum(one.n for one in reads["cells"])
    assert 0 <= counts["read"] - 1009 - 2003 < 2 * SLACK
    assert timeline.ends_ns[-1] == result.window.duration_ns and result.loss.complete


def _records(raw, kind):
    for line in raw.read_text().splitlines():
        if line.startswith(f'{{"type": "{kind}"') and line.endswith("}"):
            yield json.loads(line)


def _tick_with(raw, count):
    """When the tick was that completes so many reads, once it is there, and how many it knew."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        seen = 0
        for tick in _records(raw, "mmaplock-bt-tick"):
            seen += sum(n for mode, _, n in tick["counts"].get("hold", ()) if mode == 0)
            if seen >= count:
                return tick["now_ns"], seen
        time.sleep(0.01)
    raise AssertionError("no tick saw the locks")


def _opened_ns(raw):
    line = next(one for one in raw.read_text().splitlines() if "|open|" in one or "open|" in one)
    return int(line.partition("open|")[2].split("\\")[0].split('"')[0])
