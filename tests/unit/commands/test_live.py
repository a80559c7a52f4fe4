"""How an open window is shown: when, where, and what is left on the terminal."""

import time

import pytest

from mmaplock_bt import command_line, standard_streams
from mmaplock_bt.commands import live, run
from mmaplock_bt.renderers.live.line import line
from mmaplock_bt.stream.bpftrace_json import MapDump
from mmaplock_bt.stream.records import Dropped
from mmaplock_bt.tracing import terminal
from mmaplock_bt.tracing.onlooker import Standing
from tests.live import NOTHING, Open

S = 10**9
ALTERNATE, BACK = "\x1b[?1049h", "\x1b[?1049l"


class Clock:
    """Goes on when it is told to; showing a moment takes `shows_ns` of CPU time."""

    def __init__(self):
        self.now_ns, self.shows_ns, self.cpu_ns, self.shown = S, 0, 0, []
        self.is_asked = False

    def __call__(self):
        return self.now_ns

    def show(self, moment):
        self.cpu_ns += self.shows_ns
        self.shown.append(moment)


@pytest.fixture
def onlooker(monkeypatch):
    """A Live on a window that has no bpftrace, its clock, and what it has shown."""
    opened, clock = Open(), Clock()
    monkeypatch.setattr(time, "monotonic_ns", clock)
    monkeypatch.setattr(time, "thread_time_ns", lambda: clock.cpu_ns)
    watched = live.Watched(S, live.shown, lambda: clock.is_asked)
    return live.Live(opened.head, opened.making, watched, clock.show), clock, clock.shown


def look(onlooker, open_ns=S):
    onlooker.look(Standing(2**22 + 1, open_ns, None, NOTHING))


def test_a_moment_comes_every_second_and_not_before(onlooker):
    one, clock, shown = onlooker
    look(one)
    look(one)
    assert len(shown) == 1 and one.patience_s() == 1.0
    clock.now_ns += S
    look(one)
    assert len(shown) == 2 and one.patience_s() == 1.0


def test_one_that_is_asked_for_comes_at_once(onlooker):
    one, clock, shown = onlooker
    look(one)
    clock.is_asked = True
    look(one)
    assert len(shown) == 2


def test_a_moment_that_takes_long_comes_seldom(onlooker):
    """It rests ten times as long."""
    one, clock, shown = onlooker
    clock.shows_ns = 3 * S // 10
    look(one)
    assert len(shown) == 1 and one.patience_s() == 3.0


def test_where_maps_cannot_be_read_the_findings_are_shown(onlooker):
    one, _, shown = onlooker
    look(one)
    (moment,) = shown
    assert "gone" in moment.unread and moment.result.findings
    assert f"counts not read: {moment.unread}" in line(moment)


def test_what_was_printed_a_moment_ago_and_has_not_come_is_late(onlooker, monkeypatch):
    """What has just been printed is on its way; what was dropped is lost, not late."""
    one, clock, shown = onlooker
    come = one._making.got.arrived["waits"]
    printed = iter([come + 100, come + 1000, come + 1000])
    monkeypatch.setattr(
        one._counted, "read", lambda _pid: [MapDump("printed_waits", (("0", next(printed)),))]
    )
    for lines in (0, 0, 40):
        clock.now_ns += 10 * S
        one.look(Standing(2**22 + 1, S, None, Dropped(lines, 0, 0)))
    assert [moment.late for moment in shown] == [0, 100, 960]
    one._making.got.arrived["waits"] += 1000
    monkeypatch.setattr(one._counted, "read", lambda _pid: [])
    clock.now_ns += 10 * S
    look(one)
    assert shown[-1].late == 0 and shown[-1].lost == ""


@pytest.fixture
def on_a_terminal(monkeypatch):
    """What is drawn on standard error."""
    monkeypatch.setenv("TERM", "xterm")  # rich has no screen on one that is dumb
    drawn = []
    monkeypatch.setattr(standard_streams, "draw", drawn.append)
    return drawn


@pytest.mark.parametrize("color", [True, False])
def test_a_screen_is_gone_in_the_end_and_what_was_said_stays(on_a_terminal, capsys, color):
    with live.shown(screen=True, color=color) as show:
        terminal.say("note: something")
        assert capsys.readouterr().err == ""
        show(Open(flavour="hostile").moment())
    text = "".join(on_a_terminal)
    assert text.count(ALTERNATE) == text.count(BACK) == 1 and text.index(BACK) > text.index("note:")
    assert ("\x1b[1m" in text) == color and "\x1b[31m[bold]" not in text
    assert r"\x1b[31m[bold]" in text
    assert capsys.readouterr().err == "note: something\n"


def test_a_fault_leaves_the_screen(on_a_terminal):
    with pytest.raises(ValueError), live.shown(screen=True, color=False):
        raise ValueError
    assert BACK in "".join(on_a_terminal)


def test_off_a_terminal_there_are_lines(capsys):
    with live.shown(screen=False, color=False) as show:
        show(Open(flavour="hostile").moment())
        terminal.say("note: something")
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("0 s, 4 s left | ") and second == "note: something"


@pytest.mark.parametrize(
    ("words", "err", "out", "screen"),
    [
        ((), True, True, True),
        ((), True, False, True),
        ((), False, True, False),
        (("--", "true"), True, False, True),
        (("--", "true"), True, True, False),
    ],
)
def test_a_command_that_writes_on_the_terminal_leaves_no_screen(
    monkeypatch, words, err, out, screen
):
    arguments = command_line.parse(["run", "--live", *words])
    monkeypatch.setattr(run.sys, "stderr", _Stream(err))
    monkeypatch.setattr(run.sys, "stdout", _Stream(out))
    assert run.watched(arguments).shown.keywords["screen"] == screen


class _Stream:
    def __init__(self, is_terminal):
        self.isatty = lambda: is_terminal


@pytest.mark.parametrize("text", ["0", "1ms", "99ms", "1", "soon"])
def test_a_wrong_refresh_is_told_before_anything_is_traced(cli, text):
    done = cli("run", "--live", "--refresh", text)
    assert done.returncode == 2 and text in done.stderr and len(done.stderr.splitlines()) == 1
