"""A configuration that is read anew: when, and what is said of it."""

import os
import pty
import signal
import subprocess
import sys

import pytest

from mmaplock_bt.agent import hang_ups, reloads
from mmaplock_bt.agent.config import Config
from mmaplock_bt.agent.reloads import Reloads
from mmaplock_bt.errors import UsageError

HUNG_UP = """
import fcntl, os, signal, termios
woken, noticing = os.pipe()
os.set_blocking(noticing, False)
signal.set_wakeup_fd(noticing)  # also of a signal that comes before it is waited for
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # a session leader's, for whom its end is a hang-up
from mmaplock_bt.agent import hang_ups
signal.signal(signal.SIGHUP, lambda *_: os._exit(7))
with hang_ups.noted() as was_one:
    print("on", flush=True)
    os.read(woken, 1)
    os._exit(8)
"""


@pytest.fixture
def told(monkeypatch):
    """What systemd is told, and what is said."""
    found = []
    monkeypatch.setattr(reloads.service_manager, "tell", lambda *states: found.extend(states))
    return found


def test_what_is_asked_for_is_loaded_once(told):
    asked = [True, False]
    one = Reloads(lambda: asked.pop(0), Config, told.append)
    assert one.asked() == Config() and one.asked() is None
    assert told[0] == "RELOADING=1" and told[1].startswith("MONOTONIC_USEC=")
    one.answered("")
    assert told[2:] == ["tracing; the configuration was read anew", "READY=1"]
    assert one.is_well


def test_a_faulty_one_is_refused_with_a_sentence_and_the_next_may_be_well(told):
    def faulty():
        raise UsageError("agent.yaml:1:1: foo: unknown key")

    one = Reloads(lambda: True, faulty, told.append)
    assert one.asked() is None and not one.is_well
    assert told[2:] == [f"{reloads.NOT}: agent.yaml:1:1: foo: unknown key", "READY=1"]
    one.answered("bpftrace refused")
    assert not one.is_well and told[-2] == f"{reloads.NOT}: bpftrace refused"
    one.answered("")
    assert one.is_well


def test_a_hang_up_is_noted_once():
    before = signal.signal(signal.SIGHUP, signal.default_int_handler)
    try:
        with hang_ups.noted() as was_one:
            assert not was_one()
            os.kill(os.getpid(), signal.SIGHUP)
            assert was_one() and not was_one()
        assert signal.getsignal(signal.SIGHUP) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with hang_ups.noted() as was_one:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not was_one()
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("closes", [True, False])
def test_a_terminal_that_goes_is_an_end_and_a_signal_is_none(closes):
    master, slave = pty.openpty()
    words = [sys.executable, "-c", HUNG_UP]
    process = subprocess.Popen(
        words, stdin=slave, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    os.close(slave)
    assert process.stdout.readline() == "on\n"
    if not closes:
        process.send_signal(signal.SIGHUP)
        assert process.wait(60) == 8
    os.close(master)
    assert process.wait(60) == (7 if closes else 8)
