"""An open window on the known workload: lines off a terminal, screens on a real one."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from mmaplock_bt import workload
from mmaplock_bt.commands.live import LEAST_NS, Watched
from mmaplock_bt.commands.tracing import trace
from mmaplock_bt.spec import profile
from mmaplock_bt.tracing.ending import Options
from tests.kernel.processes import begun
from tests.kernel.results import loaded
from tests.kernel.tmux import terminal

pytestmark = pytest.mark.kernel
TOOL = [sys.executable, "-m", "mmaplock_bt"]
LOOP = "from mmaplock_bt import workload\nworkload.smaps(10**6, 512)"
FINDING = "for agent["


@contextmanager
def stalling() -> Iterator[subprocess.Popen[bytes]]:
    """A process whose child reads its smaps_rollup, over and over."""
    process = subprocess.Popen([sys.executable, "-c", LOOP], start_new_session=True)
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def lines_until(stream, *wanted):
    """The first line that has all of this."""
    told = []
    for line in stream:
        told.append(line)
        if all(one in line for one in wanted):
            return line
    raise AssertionError(f"{wanted} never came: {told}")


def test_lines_tell_the_finding_while_it_traces_and_the_report_follows(kernel):
    with stalling() as victim:
        run = begun("overview", "--live", "--refresh", "200ms", "-p", str(victim.pid))
        told = lines_until(run.stderr, FINDING, "Wait time: ")
        assert re.match(r"\d+ s \| .*Wait time: (read|write) [\d.]+/s", told)
        run.send_signal(signal.SIGINT)
        out, _ = run.communicate(timeout=60)
    assert run.returncode == 0
    assert FINDING in " ".join(out.split()) and "Complete" in out


@pytest.mark.parametrize("name", ["hold-times", "wait-times"])
def test_what_is_so_far_grows_into_what_is_in_the_end(kernel, name):
    """Counts, sums, maxima and buckets never shrink, and looks take nothing from the stream."""
    moments = []
    work = [sys.executable, "-c", "from mmaplock_bt import workload; workload.munmaps(10_007)"]
    watched = Watched(LEAST_NS, lambda: nullcontext(moments.append))
    chosen = replace(profile.load(name), locks="all")
    result = trace(chosen, kernel, Options(work, quiet=True), watched).result
    assert result.loss.complete and result.books.residue == 0
    histogram = name.partition("-")[0]
    told = [_figures(moment.result, histogram) for moment in moments]
    told.append(_figures(result, histogram))
    for before, after in pairwise(told):
        assert all(after[key] >= figure for key, figure in before.items())
    assert len({figures.get(("write", "count"), 0) for figures in told}) > 2
    assert told[-1]["write", "count"] >= 10_007


def _figures(result, name):
    """All that a histogram tells, by mode."""
    found = {}
    for row in result.histogram(name):
        mode = row["key"]["mode"]
        found |= {(mode, figure): row[figure] for figure in ("count", "sum", "max")}
        found |= {(mode, low): n for low, _, n in row["buckets"]}
    return found


def test_top_shows_the_finding_and_hears_every_key(kernel, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with stalling() as victim, terminal(*TOOL, "top", "-p", str(victim.pid)) as shown:
        shown.until(FINDING, "agent[", "others waited", "loss: none known")
        shown.keys("Enter")
        shown.until("when it held", "who waited for it", "show_smaps_rollup", "█")
        shown.keys("Escape")  # and the next key only then: the two would be one, Alt-s
        shown.until(lambda text: "when it held" not in text)
        shown.keys("s")
        shown.until("sorted by held")
        shown.keys("/")
        shown.until("Enter keeps it")
        shown.keys("zzz")
        shown.until("only 'zzz'", lambda text: "agent[" not in _table(text))
        shown.keys("Escape")
        shown.until(lambda text: "agent[" in _table(text))
        shown.keys("Space")
        frozen = _table(shown.until("FROZEN at"))
        clock = _clock(shown.text)
        shown.until(lambda text: _clock(text) > clock + 1)
        assert _table(shown.text) == frozen
        shown.keys("Space")
        shown.until(lambda text: "FROZEN" not in text, lambda text: _table(text) != frozen)
        shown.keys("w")
        shown.until("written: mmaplock-bt-")
        shown.resize(60, 20)
        shown.until("agent[", lambda text: max(map(len, text.splitlines())) <= 60)
        shown.resize(110, 40)
        shown.keys("q")
        text = shown.until("done: 0")
    assert "ended by interrupt" in text and "overview" in text
    (path,) = Path().glob("mmaplock-bt-*.json")
    so_far = loaded(path.read_text())
    assert so_far.findings[0].cause == "smaps/maps/numa_maps" and not so_far.loss.complete


def _table(text):
    """The rows of holders."""
    return text.rpartition("others waited")[2].partition("open now:")[0]


def _clock(text):
    return int(re.search(r"overview +(\d+) s", text)[1])


def test_a_live_screen_survives_another_size_and_ctrl_c_ends_the_window(kernel):
    with stalling() as victim, terminal(*TOOL, "run", "--live", "-p", str(victim.pid)) as shown:
        shown.until(FINDING, "each second", "loss: none known so far")
        shown.resize(70, 24)
        shown.until(FINDING, lambda text: max(map(len, text.splitlines())) <= 70)
        shown.keys("C-c")
        text = shown.until("done: 0")
    assert "each second" not in text and "ended by interrupt" in text
    assert "compiling" not in text


@pytest.mark.parametrize(
    "way", ["setsid --ctty", "setsid --ctty env --ignore-signal=HUP", "setsid"]
)
def test_top_ends_with_its_terminal(kernel, tmp_path, way):
    """It is hung up, and continued: textual would draw on, and wait for who reads it.

    No signal tells that where it is ignored, or the terminal is another session's.
    """
    leader, follower = os.openpty()
    saved = tmp_path / "result.json"
    argv = [*way.split(), *TOOL, "top", "-o", str(saved)]
    run = subprocess.Popen(argv, stdin=follower, stdout=follower, stderr=follower)
    os.close(follower)
    try:
        seen = b""
        while b"freeze" not in seen:
            seen += os.read(leader, 1 << 16)
        os.close(leader)
        assert run.wait(timeout=60) == 0
    finally:
        run.kill()
    assert loaded(saved.read_text()).window.ended_by == "interrupt"


def test_a_hostile_name_is_text_on_a_terminal(kernel):
    name = ascii(workload.HOSTILE_NAME)
    code = f"open('/proc/self/comm', 'wb').write({name})\n" + LOOP
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    try:
        with terminal(*TOOL, "top", "-p", str(process.pid)) as shown:
            shown.until('a",b\\n\\x1b[31m[')
            shown.keys("q")
            shown.until("done: 0")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
