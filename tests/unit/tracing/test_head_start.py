"""The last such run's bpftrace is started at once, and used only if it is what is wanted."""

import os

import pytest

from mmaplock_bt.tracing import head_start
from mmaplock_bt.tracing.head_start import KEPT, HeadStart
from mmaplock_bt.tracing.launch import Launch, Order

WORDS = ["run", "hold-times"]
COMMAND = ["sleep", "60"]


@pytest.fixture
def order(fake):
    return Order([fake("exec sleep 60"), "-k"], {"BPFTRACE_MAX_MAP_KEYS": "64"}, "BEGIN { }\n")


@pytest.fixture
def starts():
    """Makes head starts, and ends them."""
    made = []

    def start(words=WORDS, command=COMMAND):
        made.append(HeadStart(words, command))
        return made[-1]

    yield start
    for one in made:
        one.end()


def test_what_was_remembered_is_started_with_its_command(order, starts):
    first = starts()
    assert first.launch(order) is None and first.command(COMMAND) is None
    first.remember(order)
    second = starts()
    command, launch = second.command(COMMAND), second.launch(order)
    assert launch.order == order and launch.process.alive
    assert launch.pids == [launch.process.pid, os.getpid(), command.pid]
    assert second.launch(order) is None is second.command(COMMAND)
    launch.end()
    command.end()


@pytest.mark.parametrize(
    "change",
    [
        lambda order: Order(order.words, order.settings, order.text + "// new"),
        lambda order: Order([*order.words, "-q"], order.settings, order.text),
        lambda order: Order(order.words, {}, order.text),
    ],
    ids=["script", "flags", "settings"],
)
def test_what_is_not_wanted_to_the_letter_is_ended(order, starts, change, monkeypatch):
    starts().remember(order)
    ended = []
    end = Launch.end
    monkeypatch.setattr(Launch, "end", lambda self: ended.append(self) or end(self))
    assert starts().launch(change(order)) is None
    (one,) = ended
    assert not one.process.alive


def test_what_nobody_takes_is_ended(order, starts):
    starts().remember(order)
    one = starts()
    launch, command = one._launch, one._command
    one.end()
    assert not launch.process.alive and command.status is not None


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_folder_that_others_write_to_is_not_believed(order, starts, tmp_path, mode):
    starts().remember(order)
    (tmp_path / "cache/mmaplock-bt/orders").chmod(mode)
    assert starts().launch(order) is None


def test_a_file_that_others_write_to_or_a_link_is_not_believed(order, starts, tmp_path):
    starts().remember(order)
    (file,) = (tmp_path / "cache/mmaplock-bt/orders").iterdir()
    file.chmod(0o666)
    assert starts().launch(order) is None
    moved = file.rename(file.with_name("moved"))
    moved.chmod(0o600)
    file.symlink_to(moved)
    assert starts().launch(order) is None


@pytest.mark.parametrize("text", [b"", b"a", b"\xff\0\0\0\0", b"a\0\0b\0\0c", b"x" * (2 << 20)])
def test_a_file_that_is_no_order_is_as_none(order, starts, tmp_path, text):
    starts().remember(order)
    (file,) = (tmp_path / "cache/mmaplock-bt/orders").iterdir()
    file.write_bytes(text)
    assert starts().launch(order) is None


def test_only_the_newest_are_kept(order, starts, tmp_path):
    for number in range(KEPT + 3):
        starts([*WORDS, str(number)]).remember(order)
    assert len(list((tmp_path / "cache/mmaplock-bt/orders").iterdir())) == KEPT


def test_where_the_result_goes_makes_no_difference(order, starts):
    starts().remember(order)
    launch = starts([*WORDS, "-o", "x.json", "--gate", "hold.max < 1s"]).launch(order)
    assert launch is not None
    launch.end()
    assert starts([*WORDS, "--mode", "read"]).launch(order) is None


def test_a_ready_descriptor_is_not_inherited_by_a_command(order):
    """So there is no head start: the command is forked before the words are read."""
    assert head_start.of([*WORDS, "--ready-fd", "5", "--", "true"]) is None
    assert head_start.of([*WORDS, "--", "true"]) is not None
