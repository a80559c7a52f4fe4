"""top: what is around its screen."""

import os
import sys
from dataclasses import replace

import pytest

from mmaplock_bt.commands import top
from mmaplock_bt.commands.tracing import Traced
from mmaplock_bt.errors import BpftraceError
from mmaplock_bt.renderers.top import app
from mmaplock_bt.result.saved import from_json
from mmaplock_bt.tracing import ending, terminal
from tests.builders import run
from tests.live import Open

S = 10**9


class Terminal:
    def __init__(self, is_one):
        self.isatty = lambda: is_one


@pytest.fixture
def terminals(monkeypatch):
    """Standard input and error are terminals, or not."""

    def are(stdin=True, stderr=True):
        monkeypatch.setattr(top.sys, "stdin", Terminal(stdin))
        monkeypatch.setattr(top.sys, "stderr", Terminal(stderr))

    return are


@pytest.mark.parametrize("ends", [(True, False), (False, True), (False, False)])
def test_without_a_terminal_it_draws_not_and_needs_no_textual(terminals, monkeypatch, ends):
    monkeypatch.setitem(sys.modules, "textual", None)
    terminals(*ends)
    assert not top._draws()


def test_without_textual_one_sentence_says_what_to_install(cli, terminals, monkeypatch):
    monkeypatch.setitem(sys.modules, "textual", None)
    monkeypatch.setattr(top.inventory, "probe", lambda _path: pytest.fail("looked at the machine"))
    monkeypatch.setattr(top.sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(top.sys.stderr, "isatty", lambda: True, raising=False)
    done = cli("top")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "install mmaplock-bt[tui]" in done.stderr


@pytest.fixture
def shown(monkeypatch):
    """What a screen does, given as a function of its feed."""

    def does(what):
        class Screen:
            def __init__(self, feed):
                self.feed = feed

            def run(self):
                what(self.feed)

        monkeypatch.setattr(app, "Top", Screen)

    return does


def traced(watched, opened, goes_on):
    """A window of one moment, which ends when it goes on no more."""
    with watched.shown() as show:
        terminal.say("note: said while it traces")
        show(opened.moment())
        while goes_on():
            if watched.is_asked():
                show(opened.moment())
    return Traced(run(5), False, "")


def test_q_ends_the_window_and_its_result_follows(shown, capsys):
    opened = Open()
    shown(lambda feed: feed.latest.result)
    with ending.on_signals():
        found = top._on_screen(
            lambda watched: traced(watched, opened, lambda: not ending.noted()), S
        )
    assert found.result == run(5)
    assert capsys.readouterr().err == "note: said while it traces\n"


def test_a_window_that_ends_by_itself_is_not_interrupted(shown):
    shown(lambda feed: feed.has_ended.wait(60))
    with ending.on_signals():
        top._on_screen(lambda watched: traced(watched, Open(), bool), S)
        assert not ending.noted()


def test_a_window_that_does_not_open_draws_nothing_and_says_why(shown):
    shown(lambda _feed: pytest.fail("there is nothing to show"))

    def refused(_watched):
        raise BpftraceError("refused")

    with ending.on_signals(), pytest.raises(BpftraceError, match="refused"):
        top._on_screen(refused, S)


def test_a_fault_of_the_screen_ends_the_window(shown):
    def faulty(_feed):
        raise ZeroDivisionError

    shown(faulty)
    goes = []

    def traces(watched):
        try:
            return traced(watched, Open(), lambda: not ending.noted())
        finally:
            goes.append("ended")

    with ending.on_signals(), pytest.raises(ZeroDivisionError):
        top._on_screen(traces, S)
    assert goes == ["ended"]


def test_what_is_drawn_on_a_terminal_that_has_gone_is_dropped(monkeypatch):
    """textual's writer draws before anybody knows; it would die of the error."""
    leader, follower = os.openpty()
    with os.fdopen(follower, "w", encoding="utf-8") as stderr:
        monkeypatch.setattr(sys, "__stderr__", stderr)
        with top._lasting_stderr():
            sys.__stderr__.write("seen é")
            sys.__stderr__.flush()
            assert os.read(leader, 100) == "seen é".encode()
            os.close(leader)
            for _ in range(2):
                sys.__stderr__.write("not seen")
                sys.__stderr__.flush()
        assert sys.__stderr__ is stderr


def test_w_writes_the_result_so_far_and_says_where(shown, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    opened = Open()

    def asks(feed):
        feed.is_asked.set()
        while feed.is_asked.is_set() or not feed.last.startswith("written"):
            pass

    shown(asks)
    with ending.on_signals():
        top._on_screen(lambda watched: traced(watched, opened, lambda: not ending.noted()), S)
    (path,) = tmp_path.iterdir()
    assert f"written: {path.name} (the result so far)" in capsys.readouterr().err
    assert from_json(path.read_text()).findings == opened.so_far().result.findings


def test_a_file_that_is_there_is_not_written_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(top.time, "strftime", lambda _form: "x.json")
    (tmp_path / "x.json").symlink_to(tmp_path / "elsewhere")
    assert top._written(Open().moment()).startswith("not written: x.json")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_folder_that_takes_no_file_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o500)
    assert top._written(Open().moment()).startswith("not written: ")


def test_lines_are_those_of_a_run(capsys):
    def traces(watched):
        with watched.shown() as show:
            moment = Open().moment()
            show(replace(moment, standing=replace(moment.standing, open_ns=7 * S)))
        return Traced(run(5), False, "")

    top._in_lines(traces, S)
    assert capsys.readouterr().err.startswith("7 s, 4 s left | ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--refresh", "1ms"), "100ms is the shortest"),
        (("-o", "a/", "-o", "b/"), "one is enough"),
        (("-d", "0s"), "the window would be empty"),
        (("--", "true"), "top takes no COMMAND"),
        (("no-such-profile",), "no-such-profile"),
        (("--live",), "--live"),
    ],
)
def test_what_it_does_not_take_is_told_in_one_sentence(cli, words, said):
    done = cli("top", *words)
    assert done.returncode == 2 and said in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) <= 2
