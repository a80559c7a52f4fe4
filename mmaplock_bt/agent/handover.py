"""Hands the counting over from one bpftrace to another: each wait and hold is counted by one.

Both follow all locks for a while, and what ends is counted by the one whose turn it is on that CPU.
A turn ends, and the other's begins, by one event: this process renames itself there, and the
programs of both scripts run one after the other, with nothing else on that CPU in between.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mmaplock_bt.agent.kernel_maps import READY, KernelMaps
from mmaplock_bt.stream.records import BLOCKED, HOLDING, WAITING
from mmaplock_bt.tracing import bpf_maps
from mmaplock_bt.tracing.bpf_maps import Map
from mmaplock_bt.tracing.bpftrace import take_turn

BEFORE, NOW, AFTER = 0, 1, 2
TRIES = 10  # an event may be missed: while a BPF map is read on this CPU none is traced there
LATER_NS = 10**5  # both scripts read the clock for themselves


def inherit(old: KernelMaps, new: KernelMaps) -> int:
    """Gives the new script what began before it was attached; returns how many waits that are.

    Raises OSError, BpftraceError.
    """
    waits = _copied(old.span(WAITING), new.span(WAITING))
    for name in (READY, HOLDING):
        _copied(old.span(name), new.span(name))
    _blocked_as_long(old.span(BLOCKED), new.span(BLOCKED))
    return waits


def take_over(old: KernelMaps, new: KernelMaps) -> None:
    """Makes it the new script's turn on every CPU. Raises OSError, BpftraceError.

    On a CPU that this thread may not run on (it is offline, or not in its cpuset) both are told one
    after the other, and what ends in between, within microseconds, is counted by neither.
    """
    cpus = range(bpf_maps.possible_cpus())
    with _anywhere():
        for cpu in cpus:
            _turn_on(cpu, new)
    left = [cpu for cpu in cpus if new.turns().get(cpu) != NOW]
    for cpu in left:
        old.set_turn(AFTER, [cpu])
        new.set_turn(NOW, [cpu])


def _turn_on(cpu: int, new: KernelMaps) -> None:
    with suppress(OSError):
        os.sched_setaffinity(0, {cpu})
        for _ in range(TRIES):
            if new.turns().get(cpu, BEFORE) != BEFORE:
                return
            take_turn()


@contextmanager
def _anywhere() -> Iterator[None]:
    """Where this thread runs is afterwards as it was."""
    before = os.sched_getaffinity(0)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _copied(old: Map | None, new: Map | None) -> int:
    """Adds what the new one lacks; takes back what was deleted in the old one meanwhile."""
    if old is None or new is None:
        return 0
    there = new.items()
    lacking = {key: value for key, value in old.items().items() if key not in there}
    for key, value in lacking.items():
        new.add(key, value)
    after = old.items() if lacking else {}
    gone = [key for key, value in lacking.items() if after.get(key) != value]
    for key in gone:
        _take_back(key, lacking[key], old, new)
    return len(lacking) - len(gone)


def _take_back(key: tuple[int, ...], value: int, old: Map, new: Map) -> None:
    """Deletes the entry with this value from the new map, but none that has begun since.

    One that was deleted is given back, unless it has ended in between.
    """
    found = new.take(key)
    while found is not None and found != value:
        new.add(key, found)
        if old.get(key) is not None:
            return
        value, found = found, new.take(key)


def _blocked_as_long(old: Map | None, new: Map | None) -> None:
    """Since when holds block others: the new script may have seen only the latest waiter."""
    assert old is not None and new is not None
    there = new.items()
    given = {
        key: since_ns
        for key, since_ns in old.items().items()
        if key not in there or there[key] > since_ns + LATER_NS
    }
    for key, since_ns in given.items():
        new.put(key, since_ns)
    after = old.items() if given else {}
    for key, since_ns in given.items():
        if key not in after:
            new.delete(key)
        elif after[key] != since_ns:
            new.put(key, after[key])
