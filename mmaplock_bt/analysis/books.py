"""The books of a window, which must balance, and its loss."""

from mmaplock_bt.result.model import Books, Loss
from mmaplock_bt.spec.outputs import Counted, Outputs
from mmaplock_bt.stream import records
from mmaplock_bt.stream.collect import Collected

COUNTED = ("starts", "acquires", "failed", "releases", "downgrades", "orphan_releases")
OPEN = ("open_waits", "open_holds")


def kept(got: Collected, names: list[str] | None, outputs: Outputs) -> Books:
    """Returns the books: what the script counted, what was still open, the residue.

    `names` are the books that the script keeps, None for a stream from before they were told.
    The others are None, and all where the script's maps never came.
    """
    # Some releases print no map that stayed empty.
    if got.closed_ns is None and not any(name.startswith(records.BOOK) for name in got.maps):
        return Books(*[None] * 9)
    wanted = [*COUNTED, *OPEN] if names is None else names
    found = {name: _count(name, got) for name in wanted}
    _derive(found, got, outputs)
    every = dict.fromkeys((*COUNTED, *OPEN))
    residue = _residue(found) + found.pop("written_off", 0)
    found.pop("nested", 0)
    return Books(**{**every, **found}, residue=residue)


def _derive(count: dict[str, int], got: Collected, outputs: Outputs) -> None:
    """Adds what follows from an output that counts every hold, or every wait, that ended."""
    every = {o.every: name for name, o in outputs.items() if isinstance(o, Counted) and o.every}
    ended = {kind: sum(n for _, n in got.maps.get(name, ())) for kind, name in every.items()}
    if "wait" in ended and "acquires" not in count:
        count["acquires"] = ended["wait"]
    if "hold" in ended and "acquires" not in count:
        nested, downgrades = count.get("nested", 0), count.setdefault("downgrades", 0)
        count["releases"] = ended["hold"] - downgrades + nested
        count["acquires"] = ended["hold"] + nested + count.get("open_holds", 0)


def _count(name: str, got: Collected) -> int:
    if name == "open_waits":
        return len(got.maps.get(records.WAITING, ()))
    if name == "open_holds":
        # Nobody counted the start and acquisition of a late hold.
        return sum(not _is_late(value) for _, value in got.maps.get(records.HOLDING, ()))
    return sum(n for _, n in got.maps.get(records.BOOK + name, ()))


def _residue(count: dict[str, int]) -> int:
    """What the equations leave over, each where it is kept: of waits, and of holds."""
    get = count.get
    unmet = unended = 0
    if "starts" in count:
        downgrades = get("downgrades", 0)
        unmet = count["starts"] + downgrades - get("acquires", 0) - get("failed", 0)
        unmet -= get("open_waits", 0)
    if "open_holds" in count:
        unended = get("acquires", 0) - get("releases", 0) - get("downgrades", 0)
        unended -= count["open_holds"]
    return abs(unmet) + abs(unended)


def loss(got: Collected, probes: int, ended_by: str, books: Books) -> Loss:
    """Returns what is known to be missing; `probes` is how many the script has."""
    missed = got.cost.missed if got.cost else None
    lines = got.missed()
    # bpftrace counts some of the same, and what it says itself beside: never both together.
    lost = max(got.lost + got.dropped, sum((lines or {}).values())) + got.raced
    # Releases that keep stacks in an LRU map lose them without a word. Of kernel stacks each event
    # has one; whether a user stack that is not there was lost, nothing tells.
    stacks = max(got.stack_errors, got.stackless)
    nothing_missing = not (lost or got.map_full or stacks or got.unparsed or missed)
    balanced = books.residue == 0  # a probe may miss events without any counter knowing
    # The last line of the window came, or it is known what of it did not.
    drained = got.closed_ns is not None or lines is not None
    unseen = got.blind or not drained or ended_by == "bpftrace_died"
    return Loss(
        lost_events=lost,
        map_full=got.map_full,
        stack_errors=stacks,
        unparsed_lines=got.unparsed,
        probes_expected=probes,
        probes_attached=got.attached,
        complete=nothing_missing and balanced and not unseen and got.attached == probes,
        unseen=unseen,
        missed_events=missed,
        lost_lines=lines,
        dropped_lines=got.dropped,
    )


def _is_late(value: int) -> bool:
    _, _, late = records.held(value)
    return late
