"""Signals that ask for an end: the first is noted, the second throws the result away."""

import os
import signal

import pytest

from mmaplock_bt.errors import Interrupted
from mmaplock_bt.tracing import ending
from mmaplock_bt.tracing.ending import Stop, on_signals

NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", NUMBERS)
def test_the_first_is_noted_and_the_second_ends_it(number):
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match="twice"), on_signals():
        send(number)
        assert ending.noted() == 1 == Stop().interrupts
        send(signal.SIGTERM)
    assert signal.getsignal(number) is before


def test_none_gets_lost_between_two_windows_of_a_run():
    with on_signals():
        with on_signals():
            assert not ending.noted()
        send(signal.SIGTERM)  # between them, where nothing of a window is there to hear it
        with on_signals():
            assert ending.noted() == 1
    with on_signals():
        assert not ending.noted(), "another run has nothing to do with it"
