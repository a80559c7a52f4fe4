"""Work in a child: what it may take, and what of it is kept."""

import os
import signal
import time
from pathlib import Path

import pytest

from mmaplock_bt.machine import confinement
from mmaplock_bt.tracing import apart


def children():
    return Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()


@pytest.fixture(autouse=True)
def nobody_is_left():
    before = children()
    yield
    assert children() == before


def test_what_it_yields_arrives():
    assert list(apart.results(lambda: [[1, "a\nb"], {"x": None}], 10)) == [[1, "a\nb"], {"x": None}]
    assert list(apart.results(list, 10)) == []


def test_it_is_another_process():
    assert list(apart.results(lambda: [os.getpid()], 10)) != [os.getpid()]


def forever():
    yield 1
    while True:
        pass


def test_what_takes_too_long_is_ended_and_the_rest_kept():
    assert list(apart.results(forever, 0.1)) == [1]


def hoard():
    yield 1
    yield len(bytearray(2 * apart.MEMORY_BYTES))


def test_it_gets_no_more_memory_than_it_may():
    assert list(apart.results(hoard, 10)) == [1]


def chatter():
    while True:
        yield "x" * 1000


def test_it_says_no_more_than_it_may(monkeypatch):
    monkeypatch.setattr(apart, "OUTPUT_BYTES", 10_500)
    assert len(list(apart.results(chatter, 10))) == 10


def crash():
    yield 1
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_crash_is_its_own():
    assert list(apart.results(crash, 10)) == [1]


def late():
    for seconds in (0.01, 0):
        try:
            apart.no_longer_than(seconds)
            time.sleep(0.2)
            yield "slept"
        except apart.TooLongError:
            yield "too long"


def test_a_piece_of_work_has_a_limit_of_its_own():
    assert list(apart.results(late, 10)) == ["too long", "slept"]


def powerless():
    apart.unprivileged()
    yield [os.geteuid(), os.getgroups(), Path("/proc/self/status").read_text().find("CapEff:\t0")]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it gives its privileges up")
def test_it_can_give_up_its_privileges():
    ((user, groups, none),) = apart.results(powerless, 10)
    assert (user, groups) == (confinement.NOBODY, []) and none > 0


@pytest.mark.parametrize("may", [True, False], ids=["root", "root without CAP_SETUID"])
def test_it_gives_up_all_capabilities(monkeypatch, may):
    """Also where nobody cannot be become, as in a container with the least of them."""

    def refused(*_):
        raise PermissionError

    if not may:
        monkeypatch.setattr(confinement.os, "setresuid", refused)

    def work():
        apart.unprivileged()
        yield [line for line in Path("/proc/self/status").read_text().splitlines() if "Cap" in line]

    ((inherited, permitted, effective, *_),) = apart.results(work, 10)
    for held in (inherited, permitted, effective):
        assert int(held.split()[1], 16) == 0, held
