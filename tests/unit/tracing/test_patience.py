"""For how long work that may hang is waited for."""

import threading

from mmaplock_bt.machine import cpu_time
from mmaplock_bt.tracing import patience


def test_waits_for_a_cpu_are_not_the_works(monkeypatch):
    """As on a machine that leaves the work's thread in the queue for an hour."""
    asked = threading.Event()

    def waited_s(thread=None):
        if thread is not None:
            asked.set()
        return 0.0 if threading.current_thread() is threading.main_thread() and not thread else 3600

    monkeypatch.setattr(cpu_time, "waited_s", waited_s)
    monkeypatch.setattr(patience, "LONGEST", 10**6)
    done = patience.waited(0.001, lambda: asked.wait() and 3)
    assert done == patience.Waited(3, 0.0, hangs=False)


def test_work_that_hangs_is_told_from_work_that_finds_nothing():
    end = threading.Event()
    assert patience.waited(0.01, end.wait).hangs
    end.set()
    assert not patience.waited(60, lambda: None).hangs


def test_a_threads_waits_are_told_until_it_is_gone():
    assert cpu_time.waited_s(threading.get_native_id()) <= cpu_time.waited_s()
    assert cpu_time.waited_s(1 << 30) == 0.0
