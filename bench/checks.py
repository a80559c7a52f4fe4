"""The peers as checks: in one window they must count what we count."""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.contenders import Contender
from bench.tracer import Places, RefusedError, Tracer

# Both programs stand on the same tracepoints and one runs after the other. So at each end of a hold
# their stamps are as far apart as the first one's work takes, which is not the same at both ends.
# Seen: up to 0.8 us on two busy CPUs.
APART_NS = 2_000
# Of a hold of milliseconds: interrupts between the two stamps.
SHARE = 0.01
WAIT_S = 60


@dataclass(frozen=True)
class Sums:
    """Holds of the victim's address space in one mode."""

    count: int
    sum_ns: int


Found = dict[str, Sums]  # by mode


def differences(ours: Found, theirs: Found, apart_ns: int = APART_NS) -> list[str]:
    """Returns a sentence for each count that is not equal and each sum beyond the tolerance."""
    return list(_differences(ours, theirs, apart_ns))


def _differences(ours: Found, theirs: Found, apart_ns: int) -> Iterator[str]:
    if not ours:
        yield "we counted nothing"
    for mode in sorted({*ours, *theirs}):
        one, other = ours.get(mode, Sums(0, 0)), theirs.get(mode, Sums(0, 0))
        if one.count != other.count:
            yield f"{mode}: we counted {one.count} holds, the peer {other.count}"
        elif (apart := abs(one.sum_ns - other.sum_ns)) > tolerance_ns(one, apart_ns):
            yield f"{mode}: sums are {apart} ns apart, of {one.sum_ns}"


def tolerance_ns(sums: Sums, apart_ns: int = APART_NS) -> int:
    return sums.count * apart_ns + int(sums.sum_ns * SHARE)


def of_peer(printed: str, pid: int) -> Found:
    """Reads what a peer printed: its owners' rows of this process."""
    told = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    return {
        row["mode"]: Sums(row["count"], row["sum_ns"])
        for row in told
        if row.get("output") == "owners" and row["owner_pid"] == pid
    }


def of_ours(result: dict[str, Any], pid: int) -> Found:
    """Reads a saved result of hold-times."""
    found: Found = {}
    for row in result["outputs"]["owners"]["rows"]:
        if row["key"]["owner_pid"] == pid:
            mode, before = row["key"]["mode"], found.get(row["key"]["mode"], Sums(0, 0))
            found[mode] = Sums(before.count + row["count"], before.sum_ns + row["sum"])
    return found


@dataclass(frozen=True)
class Check:
    """`differences` is empty where the peer agrees; `refusal` says why it was not asked."""

    peer: str
    ours: Found
    theirs: Found
    differences: list[str]
    refusal: str | None = None


def check(
    peer: str, places: Places, missing: dict[str, str], version: str, apart_ns: int = APART_NS
) -> Check:  # fmt: skip
    """Runs hold-times and a peer over the same known workload."""
    try:
        ours, theirs = _together(peer, places, missing, version)
    except RefusedError as error:
        return Check(peer, {}, {}, [], str(error))
    return Check(peer, ours, theirs, differences(ours, theirs, apart_ns))


def _together(
    peer: str, places: Places, missing: dict[str, str], version: str
) -> tuple[Found, Found]:
    # In a window's middle the victim works: before and after it sleeps in read().
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-check-"))
        result = Path(folder) / "result.json"
        victim = stack.enter_context(_victim(places))
        theirs = Tracer(Contender(peer, (f"{{{peer}}}",), ready="line"), places, missing)
        ours = Tracer(_ours(version, result), places, missing)
        with theirs, ours:
            _exchange(victim, b"go\n")
            printed = theirs.output()
        told = json.loads(result.read_text("utf-8"))
        return of_ours(told, victim.pid), of_peer(printed, victim.pid)


def _victim(places: Places) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [*places["victim"], "known"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def _exchange(victim: "subprocess.Popen[bytes]", word: bytes) -> None:
    """Lets the victim work; it answers when it has."""
    assert victim.stdin is not None and victim.stdout is not None
    victim.stdin.write(word)
    victim.stdin.flush()
    if victim.stdout.readline() != b"done\n":
        raise RefusedError("the victim did not do its work")


def _ours(version: str, result: Path) -> Contender:
    words = ("{python}", "-P", "-m", "mmaplock_bt", "run", "hold-times", "-q", "--format", "none",
             "-o", str(result), "--bpftrace", f"{{bpftrace:{version}}}", "--system-wide", "--",
             "HOLDER")  # fmt: skip
    return Contender("hold-times", words, version)
