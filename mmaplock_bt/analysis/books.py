"""The books of a window, which must balance, and its loss."""

from mmaplock_bt.result.model import Books, Loss
from mmaplock_bt.stream import records
from mmaplock_bt.stream.collect import Collected

COUNTED = ("starts", "acquires", "failed", "releases", "downgrades", "orphan_releases")


def kept(got: Collected) -> Books:
    """Returns the books: what the script counted, what was still open, the residue.

    All are None where the script's maps never came.
    """
    if not any(name.startswith(records.BOOK) for name in got.maps):
        return Books(*[None] * 9)
    count = {name: sum(n for _, n in got.maps.get(records.BOOK + name, ())) for name in COUNTED}
    open_waits = len(got.maps.get(records.WAITING, ()))
    # Nobody counted the start and acquisition of a late hold.
    open_holds = sum(not _is_late(value) for _, value in got.maps.get(records.HOLDING, ()))
    asked = count["starts"] + count["downgrades"]
    unmet = asked - count["acquires"] - count["failed"] - open_waits
    unended = count["acquires"] - count["releases"] - count["downgrades"] - open_holds
    return Books(
        **count,
        open_holds=open_holds,
        open_waits=open_waits,
        residue=abs(unmet) + abs(unended),
    )


def loss(got: Collected, probes: int, ended_by: str, books: Books) -> Loss:
    """Returns what is known to be missing; `probes` is how many the script has."""
    nothing_missing = not (got.lost or got.map_full or got.stack_errors or got.unparsed)
    balanced = books.residue == 0  # a probe may miss events without any counter knowing
    drained = got.closed_ns is not None  # printed after everything in the window
    unseen = got.blind or not drained or ended_by == "bpftrace_died"
    return Loss(
        lost_events=got.lost,
        map_full=got.map_full,
        stack_errors=got.stack_errors,
        unparsed_lines=got.unparsed,
        probes_expected=probes,
        probes_attached=got.attached,
        complete=nothing_missing and balanced and not unseen and got.attached == probes,
        unseen=unseen,
    )


def _is_late(value: int) -> bool:
    _, _, late = records.held(value)
    return late
